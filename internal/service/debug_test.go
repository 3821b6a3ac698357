package service_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"tapedeck/internal/service"
)

func TestDebugListener(t *testing.T) {
	d, err := service.NewDebug("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	get := func(path string) (int, string) {
		t.Helper()
		r, err := http.Get("http://" + d.Address() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(b)
	}
	d.Status("capture", func() any { return map[string]int{"problems": 2} })
	for path, want := range map[string]string{
		"/status":  `{"capture":{"problems":2}}`,
		"/healthz": "ok", "/readyz": "ok", "/metrics": "go_goroutines", "/version": `"go":"go1.`, "/debug/pprof/": "goroutine",
	} {
		if status, body := get(path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("GET %s: %d %.80q, want 200 with %q", path, status, body, want)
		}
	}
	d.Ready(func() error { return errors.New("no broker") })
	if status, body := get("/readyz"); status != 503 || !strings.Contains(body, "no broker") {
		t.Errorf("GET /readyz while not ready: %d %q", status, body)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := service.NewDebug("256.0.0.1:1"); service.HintOf(err) == "" {
		t.Errorf("NewDebug on a bad address: %v, want an error with a hint", err)
	}
}

func TestFlagsMakeData(t *testing.T) {
	f := service.Flags{Data: t.TempDir() + "/a/b"}
	if err := f.MakeData(); err != nil {
		t.Fatal(err)
	}
	if got := f.ArchiveURL(); got != f.Data+"/archive" {
		t.Errorf("ArchiveURL %s", got)
	}
	f.Data = "/dev/null/x"
	if err := f.MakeData(); service.HintOf(err) == "" {
		t.Errorf("MakeData below a file: %v, want an error with a hint", err)
	}
}
