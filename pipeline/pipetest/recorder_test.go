package pipetest

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// recorder is a T that keeps failures instead of failing the test it is in.
type recorder struct {
	testing.TB
	name   string
	log    *failures
	failed bool
	mu     *sync.Mutex
}

type failures struct {
	mu   sync.Mutex
	list []string
}

// record runs a suite against a recorder and gives what failed.
func record(t *testing.T, f func(T)) []string {
	log := &failures{}
	root := &recorder{TB: t, log: log, mu: &sync.Mutex{}}
	root.Run("", f)
	return log.list
}

func (r *recorder) add(s string) {
	r.mu.Lock()
	r.failed = true
	r.mu.Unlock()
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.log.list = append(r.log.list, r.name+": "+s)
}

func (r *recorder) Run(name string, f func(T)) bool {
	sub := &recorder{TB: r.TB, name: strings.TrimPrefix(r.name+"/"+name, "/"), log: r.log, mu: &sync.Mutex{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				sub.add(fmt.Sprint("panic: ", p))
			}
		}()
		f(sub)
	}()
	<-done
	if sub.Failed() {
		r.mu.Lock()
		r.failed = true
		r.mu.Unlock()
	}
	return !sub.Failed()
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) Helper()                      {}
func (r *recorder) Log(...any)                   {}
func (r *recorder) Logf(string, ...any)          {}
func (r *recorder) Error(args ...any)            { r.add(fmt.Sprint(args...)) }
func (r *recorder) Errorf(f string, args ...any) { r.add(fmt.Sprintf(f, args...)) }
func (r *recorder) Fail()                        { r.add("failed") }
func (r *recorder) FailNow()                     { r.add("failed"); runtime.Goexit() }
func (r *recorder) Fatal(args ...any)            { r.add(fmt.Sprint(args...)); runtime.Goexit() }
func (r *recorder) Fatalf(f string, args ...any) { r.add(fmt.Sprintf(f, args...)); runtime.Goexit() }
func (r *recorder) Skip(...any)                  { runtime.Goexit() }
func (r *recorder) Skipf(string, ...any)         { runtime.Goexit() }
func (r *recorder) SkipNow()                     { runtime.Goexit() }
