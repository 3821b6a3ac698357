package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// profile takes a CPU profile of a side while it is measured, if one is
// wanted; what it returns is closed at the end.
func (l *lab) profile(ctx context.Context, name, debug string, d time.Duration) <-chan struct{} {
	done := make(chan struct{})
	if l.profiles == "" || debug == "" {
		close(done)
		return done
	}
	go func() {
		defer close(done)
		if err := fetchProfile(ctx, l.profiles, name, debug, d); err != nil {
			fmt.Fprintln(os.Stderr, "bench: profile:", err)
		}
	}()
	return done
}

func fetchProfile(ctx context.Context, folder, name, debug string, d time.Duration) error {
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", debug, max(1, int(d.Seconds())))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	file := strings.NewReplacer(" ", "-", ",", "", "/", "-").Replace(name) + ".pprof"
	f, err := os.Create(filepath.Join(folder, file))
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(f, response.Body)
	return err
}
