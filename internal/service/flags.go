// Package service is what every tapedeck process has in common: flags and
// environment, the connection to NATS, the logger, the debug listener, the
// run group and two-phase shutdown.
package service

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// Flags are common to all commands (kong; flags win over the environment).
type Flags struct {
	NATS     string `name:"nats" env:"TAPEDECK_NATS" placeholder:"URL" help:"NATS server, e.g. nats://localhost:4222. Default: an embedded one where the command has one."`
	Database string `name:"database" env:"TAPEDECK_DATABASE" placeholder:"DSN" help:"TimescaleDB, e.g. postgres://user:password@localhost:5432/tapedeck. Default: no index."`
	Archive  string `name:"archive" env:"TAPEDECK_ARCHIVE" placeholder:"URL" help:"Archive: s3://bucket/prefix?endpoint=…&region=… or file:///dir. Default: the folder archive in --data."`
	Data     string `name:"data" env:"TAPEDECK_DATA" default:".tapedeck" placeholder:"DIR" help:"Folder for what this process keeps: spool, keys, embedded server, default archive."`
	HTTP     string `name:"http" env:"TAPEDECK_HTTP" placeholder:"ADDR" help:"Listen for /healthz /readyz /status /metrics /debug/pprof /version, e.g. localhost:9090. Default: off."`
	Log      string `name:"log" env:"TAPEDECK_LOG" default:"" enum:",debug,info,warn,error" placeholder:"LEVEL" help:"Least level that is logged: debug, info, warn, error. Default: info for services, warn for commands."`
}

// ArchiveURL is where the archive is: --archive, else the folder in --data.
func (f *Flags) ArchiveURL() string {
	if f.Archive != "" {
		return f.Archive
	}
	return filepath.Join(f.Data, "archive")
}

// MakeData makes the data folder, invisible to git.
func (f *Flags) MakeData() error {
	if err := os.MkdirAll(f.Data, 0o755); err != nil {
		return Hint(fmt.Errorf("make data folder %s: %w", f.Data, err), "choose a folder that can be written with --data DIR")
	}
	ignore := filepath.Join(f.Data, ".gitignore")
	if _, err := os.Stat(ignore); err == nil {
		return nil
	}
	if err := os.WriteFile(ignore, []byte("*\n"), 0o644); err != nil {
		return Hint(fmt.Errorf("write to data folder: %w", err), "choose a folder that can be written with --data DIR")
	}
	return nil
}

// Logger writes text to a terminal and JSON to everything else.
func (f *Flags) Logger(w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(strings.ToUpper(f.Log))); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if IsTerminal(w) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// IsTerminal says whether w is a terminal: only then there are colours.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
