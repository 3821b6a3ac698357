package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/nats-io/nats.go"

	"tapedeck/archiver/tapes"
)

// part is one of the things that the data source needs.
type part struct {
	name  string
	check func(context.Context) (string, error) // what works, in words
}

func (d *DataSource) parts() []part {
	parts := []part{{"Database", d.checkDatabase}}
	if d.settings.ArchiveURL != "" {
		parts = append(parts, part{"Archive", d.checkArchive})
	}
	if d.settings.NATSURL != "" {
		parts = append(parts, part{"NATS", d.checkNATS})
	}
	return parts
}

// CheckHealth is behind "Save & test": it says which part failed and why.
func (d *DataSource) CheckHealth(ctx context.Context, _ *backend.CheckHealthRequest) (*backend.CheckHealthResult, error) {
	if d.broken != nil {
		return health(backend.HealthStatusError, []string{"Settings: " + d.broken.Error()}), nil
	}
	parts := d.parts()
	said, wrong := make([]string, len(parts)), make([]bool, len(parts))
	var checks sync.WaitGroup
	for i, p := range parts {
		checks.Go(func() { said[i], wrong[i] = checkPart(ctx, p) })
	}
	checks.Wait()
	status := backend.HealthStatusOk
	if slices.Contains(wrong, true) {
		status = backend.HealthStatusError
	}
	return health(status, said), nil
}

func checkPart(ctx context.Context, p part) (said string, wrong bool) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	works, err := p.check(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("%s: no answer in %s", p.name, patience), true
	}
	if err != nil {
		return p.name + ": " + err.Error(), true
	}
	return p.name + ": " + works, false
}

// health shows one line in the page and the parts below it.
func health(status backend.HealthStatus, said []string) *backend.CheckHealthResult {
	message := strings.Join(said, ". ")
	details, _ := json.Marshal(map[string]string{"message": message, "verboseMessage": strings.Join(said, "\n")}) // strings only
	return &backend.CheckHealthResult{Status: status, Message: message, JSONDetails: details}
}

// checkDatabase asks what the panels ask, so that missing tables and rights
// show here and not there.
func (d *DataSource) checkDatabase(ctx context.Context) (string, error) {
	index, err := d.reader(ctx)
	if err != nil {
		return "", d.inWords(err)
	}
	newest, err := newestLine(ctx, index, time.Now())
	switch {
	case err != nil:
		return "", d.inWords(err)
	case newest == nil:
		return "works, nothing recorded in the last hour", nil
	}
	return "works, last exchange at " + newest.Time.UTC().Format(time.RFC3339), nil
}

// inWords says what to do about the mistakes that set-ups begin with.
func (d *DataSource) inWords(err error) error {
	if code, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err); ok {
		switch code.SQLState() {
		case "28P01", "28000":
			return fmt.Errorf("%s refuses the user %q or the password", d.settings.DBHost, d.settings.DBUser)
		case "3D000":
			return fmt.Errorf("there is no database %q at %s", d.settings.DBName, d.settings.DBHost)
		case "42P01", "42703":
			return fmt.Errorf("the database %q has no index of this version: start `tapedeck indexer` on it (%w)", d.settings.DBName, err)
		case "42501":
			return fmt.Errorf("the user %q may not read the index: grant it select (%w)", d.settings.DBUser, err)
		}
	}
	if strings.Contains(err.Error(), "server refused TLS connection") {
		return fmt.Errorf("%s does not speak TLS: choose the TLS mode disable if the network is safe", d.settings.DBHost)
	}
	return err
}

func (d *DataSource) checkArchive(ctx context.Context) (string, error) {
	location := d.settings.ArchiveURL
	if folder, ok := localFolder(location); ok {
		// Opening would make it.
		if _, err := os.Stat(folder); err != nil {
			return "", fmt.Errorf("there is no archive: %w", err)
		}
	}
	archive, err := tapes.Open(ctx, location)
	if err != nil {
		return "", err
	}
	for _, err := range archive.List(ctx, "") {
		if err != nil {
			return "", err
		}
		return "works", nil
	}
	return "works, empty so far", nil
}

func localFolder(location string) (string, bool) {
	u, err := url.Parse(location)
	switch {
	case err != nil || u.Scheme == "":
		return location, true
	case u.Scheme == "file":
		return u.Path, true
	}
	return "", false
}

func (d *DataSource) checkNATS(ctx context.Context) (string, error) {
	nc, err := nats.Connect(d.settings.NATSURL, nats.Name("tapedeck grafana"), nats.Timeout(patience), nats.NoReconnect())
	if err != nil {
		return "", fmt.Errorf("connect to %s: %w", d.settings.NATSURL, err)
	}
	defer nc.Close()
	if err := nc.FlushWithContext(ctx); err != nil {
		return "", fmt.Errorf("ask %s: %w", nc.ConnectedUrlRedacted(), err)
	}
	return "works", nil
}
