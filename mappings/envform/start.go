package envform

import _ "embed"

//go:embed scaled.env
var start string

// Start is an env file to begin with: the minimum of Open WebUI's scaling guide,
// and what that leaves open.
func Start() string { return start }
