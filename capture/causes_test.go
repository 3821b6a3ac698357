package capture

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"tapedeck/events"
	"tapedeck/internal/natstest"
)

// caller is a service that asks its dependency for what it is asked for.
func caller(t *testing.T, client *http.Client, dependency func() string) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := client.Get(dependency() + r.URL.Path)
		if err != nil {
			t.Error(err)
			return
		}
		defer answer.Body.Close()
		io.Copy(w, answer.Body)
	}))
	t.Cleanup(s.Close)
	return s
}

// TestReplayGoesOnToEffects: an outbound exchange without any header of its
// cause is part of the replay that this is part of, over HTTP/1 and HTTP/2.
func TestReplayGoesOnToEffects(t *testing.T) {
	for name, h2 := range map[string]bool{"http1": false, "h2c": true} {
		t.Run(name, func(t *testing.T) {
			dependency := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) }))
			var protocols http.Protocols
			protocols.SetHTTP1(!h2)
			protocols.SetUnencryptedHTTP2(h2)
			dependency.Config.Protocols = &protocols
			dependency.Start()
			defer dependency.Close()
			transport := &http.Transport{Protocols: &protocols}
			defer transport.CloseIdleConnections()
			var c *running
			service := caller(t, &http.Client{Transport: transport}, func() string { return c.url(1) })
			_, js := natstest.New(t)
			c = start(t, Config{Inbound: []string{"0=" + address(service)}, Outbound: []string{"0=" + address(dependency)}}, Deps{JS: js})
			askAll(t, c.url(0))
			transport.CloseIdleConnections()
			c.stop()
			checkEffects(t, tapesOf(t, js))
		})
	}
}

// askAll asks for two things, one of them as a replay does.
func askAll(t *testing.T, url string) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for _, ask := range []struct{ path, replay string }{{"/items/4711-0815", "r1.s1"}, {"/items/1234-5678", ""}} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", url+ask.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if ask.replay != "" {
			r.Header.Set("Tapedeck-Replay", ask.replay)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(answer.Body); string(b) != ask.path {
			t.Errorf("got %q, want %q", b, ask.path)
		}
		answer.Body.Close()
	}
}

func checkEffects(t *testing.T, tapes []*events.Tape) {
	inbound, outbound := map[string]events.Row{}, map[string]events.Row{}
	for _, tape := range tapes {
		for _, e := range tape.Index.Entries {
			row := tape.Row(e)
			if row.Direction == events.Direction_INBOUND {
				inbound[row.Path] = row
			} else {
				outbound[row.Path] = row
			}
		}
	}
	if len(inbound) != 2 || len(outbound) != 2 {
		t.Fatalf("recorded %d inbound and %d outbound exchanges", len(inbound), len(outbound))
	}
	for path, call := range outbound {
		if want := inbound[path]; call.Cause != want.ID || call.CauseConfidence < 0.9 || call.ReplayID != want.ReplayID || call.Replay != want.Replay {
			t.Errorf("%s: cause %s with %.2f, replay %q %t; want %s, %q %t", path, call.Cause, call.CauseConfidence, call.ReplayID, call.Replay, want.ID, want.ReplayID, want.Replay)
		}
	}
}
