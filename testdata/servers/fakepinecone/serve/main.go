// Command serve runs the fake of Pinecone until its standard input ends, and
// prints the address of its control plane.
package main

import (
	"fmt"
	"io"
	"os"

	"outgrow/testdata/servers/fakepinecone"
)

func main() {
	s, err := fakepinecone.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "starting the fake of Pinecone:", err)
		os.Exit(1)
	}
	fmt.Println(s.Controller)
	_, _ = io.Copy(io.Discard, os.Stdin)
	s.Stop()
}
