package main

import (
	"errors"
	"strings"

	"outgrow/mappings/advise"
	"outgrow/pipeline"
)

type adviseCmd struct {
	Users     int  `help:"How many people have, or will have, an account." placeholder:"N" required:""`
	Instances int  `help:"Instances of Open WebUI." default:"1" placeholder:"N"`
	Workers   int  `help:"Processes of each instance (UVICORN_WORKERS)." default:"1" placeholder:"N"`
	JSON      bool `help:"JSON lines on standard output."`
}

func (c *adviseCmd) Run(a *app) error {
	a.json = c.JSON
	if c.Users < 1 || c.Instances < 1 || c.Workers < 1 {
		return pipeline.Usage("reading the options", errors.New("there is at least one user, and one instance of one process"), "correct --users, --instances or --workers")
	}
	s := advise.Size{Users: c.Users, Instances: c.Instances, Workers: c.Workers}
	all, always := advise.For(s), advise.Always(s)
	if a.json {
		for _, p := range all {
			emit(a.out, event{Event: "part", Detail: p})
		}
		emit(a.out, event{Event: "advise", Detail: map[string]any{"size": s, "always": always}})
		return nil
	}
	a.say("outgrow advise · %s, %s of %s", plural(int64(s.Users), "user"), plural(int64(s.Instances), "instance"), plural(int64(s.Workers), "worker"))
	for _, p := range all {
		a.say("%-13s%s: %s", p.Need, p.Name, strings.Join(p.Why, "; "))
		for _, line := range p.Set {
			a.say("             set   %s", line)
		}
		if p.Note != "" {
			a.say("             note  %s", p.Note)
		}
	}
	for _, line := range always {
		a.say("%-13sset   %s", "and", line)
	}
	return nil
}
