// Package doctor tells whether a deployment's variables are fit for several
// processes of Open WebUI. Each check looks at the variables alone and says what
// it found, what is right, what goes wrong otherwise and which line to set. It
// connects to nothing. Sources: Open WebUI's documentation of 2026-08 (scaling,
// multi-replica, Redis, environment variables) and the code of 0.12.4 (env.py,
// config.py).
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
	Line     string   `json:"line,omitempty"` // the line to set
}

// check is a row of the table. look gives what was found, "" when all is well,
// and the line to set.
type check struct {
	id             string
	severity       Severity
	looked         string
	right, symptom string
	look           func(Facts) (found, line string)
}

// Run makes all checks and counts them.
func Run(f Facts) (findings []Finding, checks int) {
	for _, table := range [][]check{databaseChecks(), redisChecks(), secretChecks(), sharedChecks(), processChecks(), telemetryChecks()} {
		for _, c := range table {
			checks++
			if found, line := c.look(f); found != "" {
				findings = append(findings, Finding{c.id, c.severity, c.looked, found, c.right, c.symptom, line})
			}
		}
	}
	return findings, checks
}

// Unfit reports whether something must be fixed.
func Unfit(all []Finding) bool {
	for _, f := range all {
		if f.Severity == Must {
			return true
		}
	}
	return false
}
