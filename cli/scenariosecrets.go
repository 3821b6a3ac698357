package cli

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"tapedeck/internal/service"
	"tapedeck/scenariogen/scenario"
)

type scenarioSecrets struct {
	service.Flags `group:"Stores:"`
	Name          string `arg:"" help:"Name of a scenario, or the folder of an exported one."`
	File          string `arg:"" default:"-" help:"File to write (mode 0600); what one that exists says already stays. - is standard output, the default."`
	Version       string `help:"Version. Default: the newest."`
}

// Run writes the file that replay --secrets reads.
func (c *scenarioSecrets) Run(ctx context.Context, env *Env) error {
	opened, err := readScenario(ctx, &c.Flags, c.Name, c.Version)
	if err != nil {
		return err
	}
	m := opened.Manifest()
	if c.File == "-" {
		var text bytes.Buffer
		scenario.FormatSecrets(&text, m, nil)
		_, err := text.WriteTo(env.Stdout)
		return err
	}
	if err := scenario.WriteSecrets(c.File, m); err != nil {
		return service.Hint(err, "name another file, or mend this one")
	}
	secrets, err := openSecrets(env, c.File)
	if err != nil {
		return err
	}
	missing := len(m.Missing(secrets, nil))
	fmt.Fprintf(env.Stdout, "wrote %s to %s: %d of the needed ones to be filled in\n", plural(len(m.Credentials), "redacted value"), c.File, missing)
	return nil
}

// openSecrets reads a file of secrets, "" for none.
func openSecrets(env *Env, name string) (*scenario.Secrets, error) {
	secrets, exposed, err := scenario.OpenSecrets(name)
	if err != nil {
		return nil, service.Hint(err, "tapedeck scenario secrets NAME FILE writes one to fill in")
	}
	if exposed {
		fmt.Fprintf(env.Stderr, "%s can be read by others on this machine: chmod 600 %s\n", name, quote(name))
	}
	return secrets, nil
}

// credentialsShown are listed by scenario show; its JSON has all.
const credentialsShown = 50

func printCredentials(env *Env, all []scenario.Credential) {
	for i, c := range all {
		if i == credentialsShown {
			fmt.Fprintf(env.Stdout, "  … and %d more redacted values: see -o json\n", len(all)-i)
			return
		}
		use := "is sent as its token if it is not given"
		if c.Needed {
			use = "must be given by --secrets"
		}
		fmt.Fprintf(env.Stdout, "  %s %s of %s %s\n", env.paint(yellow, c.Class), c.Token, printable([]byte(strings.Join(c.Places, ", "))), use)
	}
}
