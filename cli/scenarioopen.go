package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"tapedeck/internal/service"
	"tapedeck/scenariogen/scenario"
)

// openScenario opens a folder, or a scenario of the archive.
func openScenario(ctx context.Context, archive *archiveBucket, name, version, data string) (*scenario.Scenario, error) {
	if isFolder(name) {
		return scenario.OpenFolder(name)
	}
	opened, err := scenario.Open(ctx, archive, name, version)
	return opened, scenarioHint(err, data)
}

// readScenario is openScenario for those who need no archive beside it.
func readScenario(ctx context.Context, f *service.Flags, name, version string) (*scenario.Scenario, error) {
	if isFolder(name) {
		return scenario.OpenFolder(name)
	}
	archive, err := readArchive(ctx, f)
	if err != nil {
		return nil, err
	}
	return openScenario(ctx, archive, name, version, f.Data)
}

// isFolder says that name is the folder of an exported scenario.
func isFolder(name string) bool {
	_, err := os.Stat(filepath.Join(name, "manifest.json"))
	return err == nil
}

// importFolder puts a folder into the archive; name "" keeps its own.
func importFolder(ctx context.Context, archive *archiveBucket, folder, name, request string) (*scenario.Manifest, error) {
	opened, err := scenario.OpenFolder(folder)
	if err != nil {
		return nil, err
	}
	if name == "" {
		name = opened.Manifest().Name
	}
	imported, err := scenario.Import(ctx, archive, opened, name, request)
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", folder, err)
	}
	return imported, nil
}

// scenarioHint says where scenarios come from.
func scenarioHint(err error, data string) error {
	if errors.Is(err, scenario.ErrNotFound) {
		return service.Hint(err, "tapedeck scenario list names them; "+nextOn(data, "scenario", "create", "NAME", "--last")+" makes one")
	}
	return err
}
