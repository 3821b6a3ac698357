package cli

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
	"tapedeck/internal/service"
)

func TestSyncAlwaysIsReadFromTheMonitoringPort(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	for body, want := range map[string]bool{`{"config":{"sync_always":true}}`: true, `{"config":{}}`: false} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.String() != "/jsz?config=true" {
				t.Errorf("asked for %s", r.URL)
			}
			w.Write([]byte(body))
		}))
		if got, err := syncAlways(t.Context(), server.URL+"/"); got != want || err != nil {
			t.Errorf("syncAlways of %s = %v, %v", body, got, err)
		}
		server.Close()
	}
	if _, err := syncAlways(t.Context(), "http://127.0.0.1:1"); err == nil {
		t.Error("nobody answered and it is no error")
	}
}

type fakePart struct{ err error }

func (fakePart) Run(context.Context) error { return nil }
func (p fakePart) Ready() error            { return p.err }

func TestReadyNamesThePart(t *testing.T) {
	if err := ready(map[string]part{"archiver": fakePart{}})(); err != nil {
		t.Error(err)
	}
	err := ready(map[string]part{"archiver": fakePart{errors.New("full")}})()
	if err == nil || err.Error() != "archiver: full" {
		t.Errorf("ready = %v", err)
	}
}

func TestDataFolderIsLocked(t *testing.T) {
	data := t.TempDir()
	first, err := lockData(data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockData(data); service.HintOf(err) == "" {
		t.Errorf("a second lock gives %v, want an error with a hint", err)
	}
	first.Close()
	again, err := lockData(data)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestDemoCommandLines(t *testing.T) {
	d := &demonstration{demoPlay: demoPlay{Data: "d"}}
	if diff := cmp.Diff([]string{"replay", "x", "--data", "d", "--", "go", "run", "."}, d.onData([]string{"replay", "x", "--", "go", "run", "."})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"traffic", "--data", "d"}, d.onData([]string{"traffic"})); diff != "" {
		t.Error(diff)
	}
	got := replaceProgram([]string{"replay", "--", "go", "run", ".", "demo", "shop"}, []string{"go", "run", "."}, "/bin/td")
	if diff := cmp.Diff([]string{"replay", "--", "/bin/td", "demo", "shop"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestEndpointsAreCounted(t *testing.T) {
	row := func(direction events.Direction, method, template, status string, took time.Duration) events.Row {
		return events.Row{Service: "shop", Direction: direction, Host: "h", Method: method, Template: template, Status: status, Duration: took}
	}
	in, out := events.Direction_INBOUND, events.Direction_OUTBOUND
	rows := []events.Row{
		row(out, "GET", "/o", "200", 5), row(in, "GET", "/a", "200", 1), row(in, "GET", "/b", "200", 1),
		row(in, "GET", "/b", "404", 3), row(in, "GET", "/b", "200", 2), row(out, "POST", "/o", "", 5),
	}
	rows[5].Class = events.StatusClass_FAILED
	var got []string
	for _, c := range countEndpoints(rows) {
		got = append(got, c.direction.Name()+" "+c.method+c.template+" "+c.text()+" "+c.median().String())
	}
	want := []string{"inbound GET/b 200×2 404×1 2ns", "inbound GET/a 200×1 1ns", "outbound GET/o 200×1 5ns", "outbound POST/o failed×1 5ns"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"h"}, dependenciesOf(rows)); diff != "" {
		t.Error(diff)
	}
}
