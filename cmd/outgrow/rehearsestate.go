package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"outgrow/pipeline"
	"outgrow/pipeline/localstate"
)

// What the state folder keeps of a rehearsal: what was made for it, and a folder
// with the state of its migration.
const (
	rehearsalFile   = "rehearsal.json"
	rehearsalFolder = "rehearsal"
	rehearsalLock   = "rehearsal.lock"
)

// folderMark is the file by which a scratch DATA_DIR is known; it holds the
// rehearsal's id.
const folderMark = ".outgrow-rehearsal"

// Phases of a rehearsal.
const (
	rehearsalMaking = "making" // it is being made and filled
	rehearsalReady  = "ready"  // it can be looked at
)

// rehearsalState is what rehearse has made. It is kept before anything is.
type rehearsalState struct {
	ID       string    `json:"id"`
	Phase    string    `json:"phase"`
	Begun    time.Time `json:"begun"`
	Database string    `json:"database"`
	Data     string    `json:"data,omitempty"`     // the scratch DATA_DIR, "" for none
	EnvFile  string    `json:"env_file,omitempty"` // --env-out
	Lanes    []string  `json:"lanes,omitempty"`    // of the scratch side, once it is ready
	Ready    time.Time `json:"ready"`
}

// readRehearsal gives the rehearsal that was begun with a state folder; its zero
// value when there is none.
func readRehearsal(dir string) (s rehearsalState, err error) {
	if err := readKept(dir, rehearsalFile, &s); err != nil {
		return s, pipeline.Environment("reading what was made for the rehearsal", err, "make "+filepath.Join(dir, rehearsalFile)+" readable")
	}
	return s, nil
}

// lock sees that one process at a time makes or removes the rehearsal of a state
// folder.
func (r *rehearsing) lock() (err error) {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return pipeline.Environment("making the state folder", err, "name a writable folder with --state")
	}
	r.locked, err = localstate.Lock(filepath.Join(r.dir, rehearsalLock))
	return err
}

// unlock leaves neither the lock nor a folder for it where there is no rehearsal.
func (r *rehearsing) unlock() {
	if !exists(filepath.Join(r.dir, rehearsalFile)) {
		_ = os.Remove(filepath.Join(r.dir, rehearsalLock))
		_ = os.Remove(r.dir) // fails where anything is in it
	}
	localstate.Unlock(r.locked)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func (s *rehearsalState) save(dir string) error {
	body, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the rehearsal: %w", err)
	}
	return writeFile(filepath.Join(dir, rehearsalFile), append(body, '\n'))
}

// forget removes what is kept of a rehearsal.
func (s *rehearsalState) forget(dir string) error {
	for _, name := range []string{rehearsalFolder, rehearsalFile} { // the list of what was made last
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return pipeline.Environment("removing the rehearsal's state", err, "let this user write to the state folder, then run the same command")
		}
	}
	*s = rehearsalState{}
	return nil
}

// folder is where the scratch DATA_DIR is to be, "" for nowhere. It never lies in
// a folder that is somebody's already.
func (r *rehearsing) folder() (string, error) {
	const op = "choosing the scratch DATA_DIR"
	dir := r.cmd.Data
	switch {
	case !r.cmd.pick(pipeline.Files), dir == "" && fileStoreOf(r.to.Files) != nil:
		return "", nil
	case dir == "":
		beside := r.to.Mount
		if _, given := r.to.Vars["DATA_DIR"]; !given && !r.to.MountGiven {
			beside = r.from.Mount // as open takes it
		}
		dir = filepath.Clean(beside) + "-rehearsal"
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", pipeline.Usage(op, err, "name an absolute path with --data")
	}
	for whose, other := range r.others() {
		in, err := within(dir, other)
		if err != nil {
			return "", err
		}
		if in {
			return "", pipeline.Usage(op, fmt.Errorf("%s lies in %s (%s)", dir, whose, other), "name a folder beside it with --data")
		}
	}
	if err := r.holdsNothing(op, dir, "name a folder beside it with --data"); err != nil {
		return "", err
	}
	return dir, nil
}

// others are the places that are not the rehearsal's, as the variables name them
// now.
func (r *rehearsing) others() map[string]string {
	all := map[string]string{"the source's DATA_DIR": r.from.Mount, "the target's DATA_DIR": r.to.Mount, "the state folder": r.dir, "the target's env file": r.cmd.To}
	maps.DeleteFunc(all, func(_, place string) bool { return place == "" })
	return all
}

// holdsNothing refuses a scratch folder that is, or holds, something that is not
// the rehearsal's.
func (r *rehearsing) holdsNothing(op, dir, fix string) error {
	for whose, other := range r.others() {
		path, err := filepath.Abs(other)
		if err != nil {
			return fmt.Errorf("finding %s: %w", other, err)
		}
		in, err := within(path, dir)
		if err != nil {
			return err
		}
		if in {
			return pipeline.Usage(op, fmt.Errorf("%s (%s) lies in %s", whose, other, dir), fix)
		}
	}
	return nil
}

// claimFolder makes the scratch DATA_DIR, or finds that it is this rehearsal's.
func (r *rehearsing) claimFolder() error {
	const op = "making the scratch DATA_DIR"
	s := &r.state
	if s.Data == "" {
		return nil
	}
	if s.Phase == rehearsalReady && !r.ownsFolder() {
		return pipeline.Usage("going on with the rehearsal", fmt.Errorf("its folder %s is gone, or another one by now", s.Data), "remove what is left of it: outgrow rehearse --remove, then begin anew")
	}
	if r.ownsFolder() {
		return nil
	}
	if exists(s.Data) {
		return pipeline.Usage(op, fmt.Errorf("%s is there already, and this rehearsal has not made it: nothing is written over it", s.Data), "name one with --data that does not exist yet")
	}
	// It gets its name with the mark in it.
	err := os.MkdirAll(r.unmarked(), 0o755) //nolint:gosec // as Open WebUI makes its own
	if err == nil {
		err = writeFile(filepath.Join(r.unmarked(), folderMark), []byte(s.ID+"\n"))
	}
	if err == nil {
		err = os.Rename(r.unmarked(), s.Data)
	}
	if err != nil {
		return pipeline.Environment(op, err, "name a folder with --data that this user may make, or leave the files out: --only rows,vectors")
	}
	return nil
}

// unmarked is the scratch DATA_DIR's name before it has its mark, and while it is
// removed. Nobody else takes it, as nobody else knows the id.
func (r *rehearsing) unmarked() string { return r.state.Data + "." + r.state.ID }

// ownsFolder reports whether the scratch DATA_DIR is there and bears this
// rehearsal's mark.
func (r *rehearsing) ownsFolder() bool {
	info, err := os.Lstat(r.state.Data)
	if err != nil || !info.IsDir() {
		return false
	}
	body, err := readMark(filepath.Join(r.state.Data, folderMark))
	return err == nil && body == r.state.ID
}

// readMark gives the first line of a file.
func readMark(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read
	in := bufio.NewScanner(f)
	in.Scan()
	return in.Text(), in.Err()
}

// othersFolder refuses a folder at that place which does not bear the mark; nil
// for none.
func (r *rehearsing) othersFolder() error {
	data := r.state.Data
	if data == "" || !exists(data) {
		return nil
	}
	if r.ownsFolder() {
		return r.holdsNothing(removingFolder, data, "what has come to be used is not removed: name another folder there, or rename this one to keep it, then run the same command")
	}
	return pipeline.Usage(removingFolder, fmt.Errorf("%s does not bear this rehearsal's mark (%s): it is not removed", data, folderMark),
		"see whose it is; remove it or rename it by hand, then run the same command")
}

const removingFolder = "removing the scratch DATA_DIR"

// removeFolder removes the scratch DATA_DIR with everything that was written there
// meanwhile.
func (r *rehearsing) removeFolder() error {
	data := r.state.Data
	if data == "" {
		return nil
	}
	if err := r.othersFolder(); err != nil {
		return err
	}
	var err error
	if r.ownsFolder() {
		err = os.Rename(data, r.unmarked())
	}
	if err == nil {
		err = os.RemoveAll(r.unmarked())
	}
	if err != nil {
		return pipeline.Environment(removingFolder, err, "Open WebUI may have written there as another user: run the same command as one that may remove it")
	}
	return nil
}

// remove removes exactly what a rehearsal has made.
func (r *rehearsing) remove(ctx context.Context) error {
	const op = "removing the rehearsal"
	s := &r.state
	switch {
	case s.ID == "":
		return pipeline.Usage(op, fmt.Errorf("%s tells of none", r.dir), "name the pair, and the --state folder, that it was made with")
	case r.cmd.Database != "" && r.cmd.Database != s.Database:
		return pipeline.Usage(op, fmt.Errorf("it has made the database %s, not %s", s.Database, r.cmd.Database), "leave --database out")
	}
	if err := r.server.Apart(ctx, s.Database); err != nil {
		return err
	}
	if err := r.othersFolder(); err != nil {
		return err
	}
	dropped, err := r.server.Drop(ctx, s.Database, s.ID)
	if err != nil {
		return err
	}
	if err := r.removeFolder(); err != nil {
		return err
	}
	if err := r.removeEnvFile(); err != nil {
		return err
	}
	gone := *s
	if err := s.forget(r.dir); err != nil {
		return err
	}
	if r.json {
		emit(r.out, event{Event: "rehearse", Detail: rehearsalShown{Removed: true, Database: gone.Database, Data: gone.Data, EnvFile: gone.EnvFile}})
	}
	text := "the database " + gone.Database
	if !dropped {
		text += " (which was gone already)"
	}
	for _, path := range []string{gone.Data, gone.EnvFile} {
		if path != "" {
			text += ", " + path
		}
	}
	r.say("removed %s, and what the state folder kept of it", text)
	return nil
}

// removeEnvFile removes the env file, unless it is another one by now.
func (r *rehearsing) removeEnvFile() error {
	s := &r.state
	if s.EnvFile == "" {
		return nil
	}
	line, err := readMark(s.EnvFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !strings.HasPrefix(line, envHead(s.ID)) {
		r.say("note    %s was not written by this rehearsal: it is left as it is", s.EnvFile)
		s.EnvFile = ""
		return nil
	}
	if err == nil {
		err = os.Remove(s.EnvFile)
	}
	if err != nil {
		return pipeline.Environment("removing the env file", err, "remove "+s.EnvFile+" by hand, then run the same command")
	}
	return nil
}
