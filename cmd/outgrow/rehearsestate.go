package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"outgrow/pipeline"
)

// What the state folder keeps of a rehearsal: what was made for it, and a folder
// with the state of its migration.
const (
	rehearsalFile   = "rehearsal.json"
	rehearsalFolder = "rehearsal"
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
	path := filepath.Join(dir, rehearsalFile)
	body, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	if err != nil {
		return s, pipeline.Environment("reading what was made for the rehearsal", err, "make "+path+" readable")
	}
	return s, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func (s *rehearsalState) save(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return pipeline.Environment("making the state folder", err, "name a writable folder with --state")
	}
	body, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the rehearsal: %w", err)
	}
	return writeFile(filepath.Join(dir, rehearsalFile), append(body, '\n'))
}

// forget removes what is kept of a rehearsal, and the state folder where nothing
// else is in it.
func (s *rehearsalState) forget(dir string) error {
	for _, name := range []string{rehearsalFolder, rehearsalFile} { // the list of what was made last
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return pipeline.Environment("removing the rehearsal's state", err, "let this user write to the state folder, then run the same command")
		}
	}
	_ = os.Remove(dir) // fails where anything is in it
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
	for whose, other := range map[string]string{"the source's DATA_DIR": r.from.Mount, "the target's DATA_DIR": r.to.Mount, "the state folder": r.dir} {
		if other == "" {
			continue
		}
		in, err := within(dir, other)
		if err != nil {
			return "", err
		}
		if in {
			return "", pipeline.Usage(op, fmt.Errorf("%s lies in %s (%s)", dir, whose, other), "name a folder beside it with --data")
		}
	}
	return dir, nil
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
	if err := os.Mkdir(s.Data, 0o755); err == nil { //nolint:gosec // as Open WebUI makes its own
		return writeFile(filepath.Join(s.Data, folderMark), []byte(s.ID+"\n"))
	} else if !errors.Is(err, fs.ErrExist) {
		return pipeline.Environment(op, err, "name a folder with --data that this user may make, or leave the files out: --only rows,vectors")
	}
	if r.ownsFolder() {
		return nil
	}
	return pipeline.Usage(op, fmt.Errorf("%s is there already, and this rehearsal has not made it: nothing is written over it", s.Data), "name one with --data that does not exist yet")
}

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
	if data == "" || !exists(data) || r.ownsFolder() {
		return nil
	}
	return pipeline.Usage(removingFolder, fmt.Errorf("%s does not bear this rehearsal's mark (%s): it is not removed", data, folderMark),
		"see whose it is; remove it or rename it by hand, then run the same command")
}

const removingFolder = "removing the scratch DATA_DIR"

// removeFolder removes the scratch DATA_DIR with everything that was written there
// meanwhile.
func (r *rehearsing) removeFolder() error {
	data := r.state.Data
	if data == "" || !r.ownsFolder() {
		return r.othersFolder()
	}
	// The mark last, so that a removal which was stopped can go on.
	entries, err := os.ReadDir(data)
	for _, e := range entries {
		if err == nil && e.Name() != folderMark {
			err = os.RemoveAll(filepath.Join(data, e.Name()))
		}
	}
	if err == nil {
		err = os.RemoveAll(data)
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
