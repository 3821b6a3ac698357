package events_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
	"tapedeck/internal/natstest"
)

func TestSetupIsIdempotentAndNamesDifferences(t *testing.T) {
	_, _, js := natstest.Start(t, t.TempDir())
	made, err := events.Setup(t.Context(), js, events.SetupOptions{Database: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(made) < 8 {
		t.Errorf("made %v, want all streams and durables", made)
	}
	if made, err = events.Setup(t.Context(), js, events.SetupOptions{Database: true}); err != nil || len(made) != 0 {
		t.Errorf("second Setup made %v, %v; want nothing", made, err)
	}
	stream, err := js.Stream(t.Context(), events.StreamCaptured)
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	if config.Retention != jetstream.InterestPolicy {
		t.Errorf("CAPTURED has retention %v, want interest", config.Retention)
	}
	config.Discard = jetstream.DiscardOld
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	_, err = events.Setup(t.Context(), js, events.SetupOptions{Database: true})
	if !errors.Is(err, events.ErrDiffers) || !strings.Contains(err.Error(), "CAPTURED") || !strings.Contains(err.Error(), "discard") {
		t.Errorf("Setup over a changed stream: %v, want ErrDiffers naming CAPTURED and discard", err)
	}
}

// A setup that died after making the stream, before its durables, lost nothing
// and is finished by the next.
func TestSetupFinishesWhatAnotherBegan(t *testing.T) {
	_, _, js := natstest.Start(t, t.TempDir())
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: events.StreamCaptured, Subjects: []string{"captured.>"}, Discard: jetstream.DiscardNew, MaxBytes: 8 << 30}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "captured.a.b.c", []byte("early")); err != nil {
		t.Fatal(err)
	}
	if _, err := events.Setup(t.Context(), js, events.SetupOptions{}); err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), events.StreamCaptured)
	if err != nil {
		t.Fatal(err)
	}
	info := stream.CachedInfo()
	if info.State.Msgs != 1 || info.Config.Retention != jetstream.InterestPolicy {
		t.Errorf("stream has %d messages and retention %v, want 1 and interest", info.State.Msgs, info.Config.Retention)
	}
	if _, err := js.Consumer(t.Context(), events.StreamCaptured, events.DurableIndexer); !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Errorf("without a database the indexer's durable must not exist: %v", err)
	}
}

func TestTokenIsOneTokenAndReversible(t *testing.T) {
	seen := map[string]string{}
	for _, s := range []string{"", "a", "cart", "a.b", "a b", "*", ">", "%", "é", "a%2Eb", strings.Repeat("x.", 9), "日本"} {
		token := events.Token(s)
		if strings.ContainsAny(token, ". *>/\t") || token == "" {
			t.Errorf("Token(%q) = %q is not one token", s, token)
		}
		if other, ok := seen[token]; ok {
			t.Errorf("Token(%q) = Token(%q)", s, other)
		}
		seen[token] = s
		back, err := events.Untoken(token)
		if diff := cmp.Diff(s, back); diff != "" || err != nil {
			t.Errorf("Untoken(%q): %v %s", token, err, diff)
		}
	}
}

func TestSinksAreThoseOfTheSetup(t *testing.T) {
	_, _, js := natstest.Start(t, t.TempDir())
	if err := events.CheckSinks(t.Context(), js); err == nil {
		t.Error("CheckSinks without streams: nil, want an error")
	}
	for _, o := range []events.SetupOptions{{}, {Database: true}, {}} { // the index may come later, and stays
		if _, err := events.Setup(t.Context(), js, o); err != nil {
			t.Fatal(err)
		}
		if err := events.CheckSinks(t.Context(), js); err != nil {
			t.Errorf("CheckSinks after Setup(%+v): %v", o, err)
		}
	}
	if err := js.DeleteConsumer(t.Context(), events.StreamCaptured, events.DurableIndexer); err != nil {
		t.Fatal(err)
	}
	if err := events.CheckSinks(t.Context(), js); !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Errorf("CheckSinks without the indexer's durable: %v, want ErrConsumerNotFound", err)
	}
}
