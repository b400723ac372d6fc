package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

// facts adds what the lanes know to what the first screen tells and the freshness
// rule needs.
func (o *opener) facts() (err error) {
	f := o.src
	f.store = o.srcStore
	for _, l := range o.lanes {
		f.lanes = append(f.lanes, l.Kind())
		for _, u := range l.Units() {
			switch {
			case l.Kind() == pipeline.Vectors:
				f.collections++
				f.vectors += max(u.Records, 0)
			case l.Kind() == pipeline.Files && u.Name == "uploads":
				f.uploads, f.upload = max(u.Records, 0), max(u.Bytes, 0)
			}
		}
	}
	if f.source == nil {
		return nil
	}
	if o.storeOpen && !f.live {
		f.lives("vector_db is open in another process")
	}
	f.key, err = tryKeys(o.ctx, o.from, o.to, f.source)
	return err
}

// check gathers the findings of all lanes and of the pair itself.
func (s *session) check(ctx context.Context) ([]pipeline.Finding, error) {
	var all []pipeline.Finding
	for _, d := range []env.Deployment{s.from, s.to} {
		for _, w := range d.Warnings {
			all = append(all, pipeline.Finding{Severity: pipeline.Warn, Reason: "configuration", Text: d.Side + ": " + w.Variable + " " + w.Problem, Fix: w.Fix})
		}
	}
	all = append(all, s.extra...)
	for _, l := range s.lanes {
		found, err := l.Check(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	if s.paths != nil {
		found, err := s.paths.findings(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	all = append(append(all, s.conflictFindings()...), s.databaseFindings()...)
	all = append(append(all, s.rowFindings()...), s.keyFindings()...)
	found, err := s.fileSystemFindings()
	if err != nil {
		return nil, err
	}
	all = append(all, found...)
	found, err = s.driftFindings(ctx)
	if err != nil {
		return nil, err
	}
	all = append(all, found...)
	sortFindings(all)
	return all, nil
}

// rowFindings says what the inspection of the database found.
func (s *session) rowFindings() []pipeline.Finding {
	var out []pipeline.Finding
	if s.src.source == nil {
		return nil
	}
	in := s.src.rows
	kept := "PostgreSQL cannot hold them, they are kept whole in the quarantine"
	if s.to.Database.Kind == env.SQLite {
		kept = "they do not go into the new database, they are kept whole in the quarantine"
	}
	for _, o := range in.Orphans {
		out = append(out, pipeline.Finding{Severity: pipeline.Accept, Reason: pipeline.Orphan, Unit: "rows/" + o.Table, Count: o.Rows,
			Text: fmt.Sprintf("%s of %s have no parent in %s: %s", plural(o.Rows, "row"), o.Table, o.Parent, kept),
			Fix:  "agree with --accept orphan: Open WebUI on PostgreSQL would have deleted them with their parent"})
	}
	var busy int64
	for status, n := range in.Unprocessed {
		busy += n
		out = append(out, pipeline.Finding{Severity: pipeline.Note, Reason: "unprocessed", Count: n, Text: plural(n, "file") + " still " + status})
	}
	if in.Unfinished > 0 {
		out = append(out, pipeline.Finding{Severity: pipeline.Note, Reason: "unfinished", Count: in.Unfinished, Text: plural(in.Unfinished, "chat message") + " not done"})
	}
	if s.src.live {
		out = append(out, s.src.liveFinding())
	}
	for _, note := range in.Notes {
		out = append(out, pipeline.Finding{Severity: pipeline.Note, Reason: "inspection", Text: note})
	}
	return out
}

// sourceOf gives the lane's reader for what only one backend can do.
func (s *session) sourceOf(l mover) any {
	switch l := l.(type) {
	case *lane[*pipeline.Row]:
		if r, ok := l.source.(*rowReader); ok {
			return r.database
		}
		return l.source
	case *lane[*pipeline.Vector]:
		return l.source
	case *lane[*pipeline.Object]:
		return l.source
	}
	return nil
}

// direct replaces the host of both PostgreSQL addresses by that of --direct-url
// for the load.
func (s *session) direct(t target) error {
	if t.DirectURL == "" {
		return nil
	}
	host := t.DirectURL
	if strings.Contains(host, "@") {
		return pipeline.Usage("reading --direct-url", fmt.Errorf("it holds a user or password, which arguments must not"),
			"give host:port only: user, password and database are taken from DATABASE_URL")
	}
	if i := strings.Index(host, "://"); i >= 0 {
		host, _, _ = strings.Cut(host[i+3:], "/")
	}
	if host == "" || strings.ContainsAny(host, "/?# ") {
		return pipeline.Usage("reading --direct-url", fmt.Errorf("%q is not host[:port]", t.DirectURL), "give host:port of the PostgreSQL server behind the pooler")
	}
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(strings.Trim(host, "[]"), "5432")
	}
	for _, u := range []*env.Secret{&s.to.Database.URL, &s.to.Vector.PG.URL} {
		if *u == "" || (u == &s.to.Vector.PG.URL && s.to.Vector.PG.OwnURL) {
			continue
		}
		parsed, err := url.Parse(u.Reveal())
		if err != nil {
			return pipeline.Usage("reading --direct-url", fmt.Errorf("DATABASE_URL cannot be parsed"), "check DATABASE_URL")
		}
		parsed.Host = host
		*u = env.Secret(parsed.String())
	}
	return nil
}
