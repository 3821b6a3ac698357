package replayer_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
	"tapedeck/internal/natstest"
	"tapedeck/internal/scenariotest"
	"tapedeck/mocksrv"
	"tapedeck/replayer"
)

// frontend is a service that asks its dependency and passes on what it says.
func frontend(dependency func() string) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		response, err := http.Get(dependency() + r.URL.Path)
		if err != nil {
			http.Error(w, "dependency is away", http.StatusBadGateway)
			return
		}
		defer response.Body.Close()
		w.WriteHeader(response.StatusCode)
		io.Copy(w, response.Body)
	}))
}

// Replayer and mock server, as two services that know each other by events
// only: the target's dependency is mocked for the time of the replay.
func TestMockedReplay(t *testing.T) {
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	_, js := natstest.New(t)
	archive := scenariotest.Archive(t)
	var calls atomic.Int32
	stock := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		fmt.Fprintf(w, "stock of %s: 3", r.URL.Path)
	}))
	defer stock.Close()
	recorded := frontend(func() string { return stock.URL })
	defer recorded.Close()
	r := scenariotest.New(t)
	for _, path := range []string{"/apples", "/pears"} {
		r.Inbound(recorded.URL, "GET", path, "")
		r.Outbound(stock.URL, "", "GET", path, "")
	}
	s := r.Save(archive, "fruit")
	dependency := s.Manifest().Dependencies[0].Name
	before := calls.Load()

	run(t, func(ctx context.Context) error {
		service, err := replayer.New(replayer.Config{Slots: 1, MaxConnections: 10, MaxDuration: time.Minute, ReadyTimeout: 10 * time.Second},
			replayer.Deps{JetStream: js, Archive: archive})
		if err != nil {
			return err
		}
		return service.Run(ctx)
	})
	for range 2 { // two mock servers share the work: each dependency has one owner
		run(t, func(ctx context.Context) error {
			service, err := mocksrv.New(mocksrv.Config{Host: "127.0.0.1", Latency: "none", MaxLease: time.Minute}, mocksrv.Deps{JetStream: js, Archive: archive})
			if err != nil {
				return err
			}
			return service.Run(ctx)
		})
	}
	address := make(chan string, 1) // of the mock, as announced
	target := frontend(func() string {
		a := <-address
		address <- a
		return a
	})
	defer target.Close()
	mocked := mockedStates(t, js, address)

	publish(t, js, fmt.Sprintf(`{"id":"m1","scenario":"fruit","target":%q,"mocks":{"isolation":"declared"},"load":{"mode":"fast"}}`, target.URL))
	result := awaitResult(t, js, "m1")
	if result.Verdict != events.Passed || result.Isolation != "declared" {
		t.Errorf("verdict %s: %s, isolation %s, misses %+v", result.Verdict, result.Reason, result.Isolation, result.Misses)
	}
	if len(result.Mocks) != 1 || result.Mocks[0].Dependency != dependency || result.Mocks[0].Served != 2 || result.Mocks[0].Missed != 0 {
		t.Errorf("mocks %+v", result.Mocks)
	}
	if calls.Load() != before {
		t.Error("the real dependency was called")
	}
	if got := strings.Join(mocked(2), " "); got != "ready final" {
		t.Errorf("the mock said %q", got)
	}

	publish(t, js, fmt.Sprintf(`{"id":"m2","scenario":"fruit","target":%q,"mocks":{"dependencies":["mail"]}}`, target.URL))
	result = awaitResult(t, js, "m2")
	if result.Verdict != events.Errored || !strings.Contains(result.Reason, "mock of mail: mock mail: the scenario has no such dependency") {
		t.Errorf("verdict %s: %s", result.Verdict, result.Reason)
	}
}

// run runs a service until the test ends.
func run(t *testing.T, service func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func publish(t *testing.T, js jetstream.JetStream, request string) {
	t.Helper()
	if _, err := js.Publish(t.Context(), events.SubjectReplayRequest, []byte(request)); err != nil {
		t.Fatal(err)
	}
}

func awaitResult(t *testing.T, js jetstream.JetStream, id string) events.ReplayResult {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		s, err := js.Stream(t.Context(), events.StreamResults)
		if err != nil {
			t.Fatal(err)
		}
		if msg, err := s.GetLastMsgForSubject(t.Context(), events.ReplayResultSubject(id)); err == nil {
			e, err := events.Decode(msg.Subject, msg.Header, msg.Data)
			if err != nil {
				t.Fatal(err)
			}
			result, err := events.DecodeData[events.ReplayResult](e)
			if err != nil {
				t.Fatal(err)
			}
			return result
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Fatalf("no result of %s", id)
	return events.ReplayResult{}
}

// mockedStates follows what mocks say of replay m1; the returned function waits
// for n words and returns them.
func mockedStates(t *testing.T, js jetstream.JetStream, address chan<- string) func(n int) []string {
	t.Helper()
	consumer, err := js.OrderedConsumer(t.Context(), events.StreamProgress, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{events.ReplayMockedSubject("m1")},
	})
	if err != nil {
		t.Fatal(err)
	}
	states := make(chan string, 10)
	consuming, err := consumer.Consume(func(msg jetstream.Msg) {
		e, _ := events.Decode(msg.Subject(), msg.Headers(), msg.Data())
		if m, err := events.DecodeData[events.ReplayMocked](e); err == nil {
			if m.State == "ready" {
				address <- "http://" + m.Address
			}
			states <- m.State
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { consuming.Stop(); <-consuming.Closed() })
	return func(n int) []string {
		var all []string
		for range n {
			select {
			case s := <-states:
				all = append(all, s)
			case <-time.After(10 * time.Second):
				return all
			}
		}
		return all
	}
}
