package archiver

import (
	"math/rand/v2"
	"testing"
	"time"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/internal/natstest"
	"tapedeck/internal/s3test"
)

// BenchmarkArchive brings full tapes from CAPTURED into the archive.
func BenchmarkArchive(b *testing.B) {
	b.Run("directory", func(b *testing.B) { benchmarkArchive(b, open(b, b.TempDir()), alone()) })
	for name, cfg := range map[string]Config{"s3": alone(), "s3 in reels": reelsOf(defaultReelSize, time.Second)} {
		b.Run(name, func(b *testing.B) {
			s := s3test.Start(b, "archive")
			b.Setenv("AWS_ACCESS_KEY_ID", s.Access)
			b.Setenv("AWS_SECRET_ACCESS_KEY", s.Secret)
			benchmarkArchive(b, open(b, s.URL("archive", "")), cfg)
		})
	}
}

func benchmarkArchive(b *testing.B, a *tapes.Archive, cfg Config) {
	_, js := natstest.New(b)
	for range b.N {
		tape := fullTape(b)
		publish(b, js, tape)
		b.SetBytes(tape.Total)
	}
	b.ResetTimer()
	_, stop := run(b, js, a, cfg)
	eventually(b, "every tape is acknowledged", drained(b, js))
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tapes/s")
	stop()
}

// fullTape is as large as capture makes them.
func fullTape(b *testing.B) *events.Tape {
	t := events.NewBuilder(time.Now())
	noise := make([]byte, 128<<10)
	for t.Size() < events.TapeSize-len(noise) {
		for i := range noise {
			noise[i] = byte(rand.Uint32())
		}
		id := events.NewID(time.Now())
		if _, err := t.AddPart(&events.Part{ExchangeId: id[:], Data: noise}); err != nil {
			b.Fatal(err)
		}
	}
	source := events.NewID(time.Now())
	raw, err := t.Close(&events.Header{SourceId: source[:], Number: 1, Workload: &events.Workload{Cluster: "local", Namespace: "shop", Service: "orders"}})
	if err != nil {
		b.Fatal(err)
	}
	tape, err := events.ParseTape(raw)
	if err != nil {
		b.Fatal(err)
	}
	return tape
}
