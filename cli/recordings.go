package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"tapedeck/internal/service"
)

// recording is one run of `record`: what --last refers to.
type recording struct {
	ID        string    `json:"id"`
	From      time.Time `json:"from"`
	To        time.Time `json:"to,omitzero"` // zero while it runs, and when it was killed
	Services  []string  `json:"services"`
	Exchanges int       `json:"exchanges"`
	Program   []string  `json:"program,omitempty"`
}

func recordingsFile(data string) string { return filepath.Join(data, "recordings.json") }

// readRecordings reads the recordings of a data folder, the oldest first.
func readRecordings(data string) ([]recording, error) {
	b, err := os.ReadFile(recordingsFile(data))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read recordings: %w", err)
	}
	var all []recording
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, service.Hint(fmt.Errorf("read recordings %s: %w", recordingsFile(data), err), "delete the file: the exchanges themselves are in the archive")
	}
	return all, nil
}

// remember adds a recording, or says more about one that was begun.
func remember(data string, r recording) error {
	all, err := readRecordings(data)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(begun recording) bool { return begun.ID == r.ID })
	b, err := json.MarshalIndent(append(all, r), "", "  ")
	if err != nil {
		return fmt.Errorf("write recordings: %w", err)
	}
	// A reader sees the old file or the new one.
	temporary := recordingsFile(data) + ".new"
	if err := os.WriteFile(temporary, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write recordings: %w", err)
	}
	if err := os.Rename(temporary, recordingsFile(data)); err != nil {
		return fmt.Errorf("write recordings: %w", err)
	}
	return nil
}

// lastRecording is the newest one.
func lastRecording(data string) (recording, error) {
	all, err := readRecordings(data)
	if err != nil {
		return recording{}, err
	}
	if len(all) == 0 {
		return recording{}, service.Hint(fmt.Errorf("no recording in %s", data), "make one: tapedeck record --inbound 8080=localhost:3000 -- CMD")
	}
	return all[len(all)-1], nil
}
