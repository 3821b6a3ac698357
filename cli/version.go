package cli

import (
	"fmt"

	"tapedeck/internal/service"
)

type versionCommand struct {
	Output string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

func (c *versionCommand) Run(env *Env) error {
	b := service.Version()
	if c.Output == "json" {
		return printJSON(env.Stdout, b)
	}
	commit := b.Commit
	if commit != "" {
		commit = " " + commit[:min(12, len(commit))]
	}
	fmt.Fprintf(env.Stdout, "tapedeck %s%s %s %s/%s\n", b.Version, commit, b.Go, b.OS, b.Arch)
	return nil
}
