// Command install builds the tools that tests drive, once.
package main

import (
	"context"
	"fmt"
	"os"

	"tapedeck/internal/tool"
)

func main() {
	for _, t := range tool.All {
		if _, err := t.Install(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, "install tools for tests:", err)
			os.Exit(1)
		}
	}
}
