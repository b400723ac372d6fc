// Package doctor tells whether a deployment is fit for several processes of
// Open WebUI. A check looks at the variables, and where servers were asked at
// what they answered; it says what it found, what is right, what goes wrong
// otherwise and which line to set. It connects to nothing: see package probe.
// Sources: Open WebUI's documentation of 2026-08 (scaling, multi-replica, Redis,
// performance, environment variables) and the code of 0.12.4 (env.py, config.py,
// internal/db.py, utils/redis.py, retrieval/vector/dbs).
//
// What Open WebUI does not start with is told by package env, before any check:
// D04 (characters in the URL), D05 (split variables), D28 (MILVUS_URI), D31 (the
// provider's name), D49 (SQLCipher), D54 (a long vector without halfvec). What a
// target cannot hold of a source (D53), and whether the source is stopped, is
// plan's to tell.
package doctor

import "outgrow/mappings/env"

// Severity says what a finding means for the operator.
type Severity string

// The severities. What must be fixed makes the deployment unfit.
const (
	Must   Severity = "must"
	Should Severity = "should"
)

// Facts are what the checks look at.
type Facts struct {
	env.Deployment
	// Replicas is how many instances are started with these variables; Workers
	// how many processes each of them has, 0 for what UVICORN_WORKERS says.
	Replicas, Workers int
	// Primary says that one more instance, with variables of its own, runs the
	// database migrations.
	Primary bool
	// Answers are what the servers said.
	Answers Answers
}

// Finding is what a check has to say. It holds no value of a variable that may
// be a secret.
type Finding struct {
	ID       string   `json:"id"`
	Severity Severity `json:"severity"`
	Looked   string   `json:"looked_at"`
	Found    string   `json:"found"`
	Right    string   `json:"right"`
	Symptom  string   `json:"symptom,omitempty"`
	Line     string   `json:"line,omitempty"` // the line to set, or what to do
}

// Unknown is a check that could not be made.
type Unknown struct {
	ID     string `json:"id"`
	Looked string `json:"looked_at"`
	Why    string `json:"why"`
}

// Report is what all checks came to.
type Report struct {
	Findings []Finding
	Unknown  []Unknown
	// Checks is how many were made, Fine how many had nothing to say, Left how
	// many need answers that nobody asked for.
	Checks, Fine, Left int
}

// check is a row of the table. One that is live looks at answers, and is left
// out where nobody was asked.
type check struct {
	id             string
	severity       Severity
	looked         string
	right, symptom string
	look           func(Facts) verdict
	live           bool
}

// asked marks the rows of a table as live.
func asked(table []check) []check {
	for i := range table {
		table[i].live = true
	}
	return table
}

func tables() [][]check {
	return [][]check{
		databaseChecks(), redisChecks(), secretChecks(), sharedChecks(), processChecks(), documentChecks(), telemetryChecks(),
		asked(postgresChecks()), asked(connectionChecks()), asked(rowChecks()), asked(redisServerChecks()), asked(chunkChecks()), asked(storeChecks()), asked(placeChecks()), asked(endpointChecks()),
	}
}

// Run makes all checks.
func Run(f Facts) Report {
	var r Report
	for _, table := range tables() {
		for _, c := range table {
			if c.live && !f.Answers.Asked {
				r.Left++
				continue
			}
			r.Checks++
			switch v := c.look(f); {
			case v.unknown != "":
				r.Unknown = append(r.Unknown, Unknown{c.id, c.looked, v.unknown})
			case v.found != "":
				r.Findings = append(r.Findings, Finding{c.id, c.severity, c.looked, v.found, c.right, c.symptom, v.line})
			default:
				r.Fine++
			}
		}
	}
	return r
}

// Count tells how many things must, and how many should, be fixed.
func (r Report) Count() (must, should int) {
	for _, f := range r.Findings {
		if f.Severity == Must {
			must++
		} else {
			should++
		}
	}
	return must, should
}

// Unfit reports whether something must be fixed.
func (r Report) Unfit() bool {
	must, _ := r.Count()
	return must > 0
}
