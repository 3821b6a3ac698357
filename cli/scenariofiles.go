package cli

import (
	"context"
	"fmt"
	"time"

	"tapedeck/events"
	"tapedeck/internal/service"
	"tapedeck/scenariogen/scenario"
)

type scenarioExport struct {
	service.Flags `group:"Stores:"`
	Name          string `arg:"" help:"Name of the scenario."`
	Folder        string `arg:"" help:"Folder to write: readable files to edit and commit."`
	Version       string `help:"Version. Default: the newest."`
}

func (c *scenarioExport) Run(ctx context.Context, env *Env) error {
	archive, err := readArchive(ctx, &c.Flags)
	if err != nil {
		return err
	}
	opened, err := openScenario(ctx, archive, c.Name, c.Version, c.Data)
	if err != nil {
		return err
	}
	if err := scenario.ExportFolder(ctx, opened, c.Folder); err != nil {
		return err
	}
	m := opened.Manifest()
	fmt.Fprintf(env.Stdout, "wrote %s and %s of %s to %s\n", plural(m.Tests, "test"), plural(m.Mocks, "mock"), m.Name, c.Folder)
	return nil
}

type scenarioImport struct {
	service.Flags `group:"Stores:"`
	Folder        string `arg:"" help:"Folder of an exported scenario."`
	Name          string `help:"Another name for it."`
}

func (c *scenarioImport) Run(ctx context.Context, env *Env) error {
	archive, err := openArchive(ctx, &c.Flags)
	if err != nil {
		return err
	}
	m, err := importFolder(ctx, archive, c.Folder, c.Name, events.NewID(time.Now()).String())
	if err != nil {
		return err
	}
	ready := m.Ready()
	printReady(env, &ready)
	return nil
}
