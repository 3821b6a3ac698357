package capture

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"testing"
	"time"

	"tapedeck/internal/natstest"
)

// TestLargeUpload sends a body that is larger than all memory that capture may
// use: 256 MiB, or UPLOAD_SIZE (`make test-upload`: 10GiB).
func TestLargeUpload(t *testing.T) {
	size := Bytes(256 << 20)
	if s := os.Getenv("UPLOAD_SIZE"); s != "" {
		if err := size.UnmarshalText([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	for _, pressure := range []string{"drop", "block"} {
		t.Run(pressure, func(t *testing.T) { uploads(t, int64(size), pressure) })
	}
}

// halved is what is left out before the place where a body is cut: a value of
// which half is kept would not be known by its looks.
const halved = 4 << 10

func uploads(t *testing.T, size int64, pressure string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	}))
	t.Cleanup(server.Close)
	_, js := natstest.New(t)
	c := start(t, Config{Inbound: []string{"0=" + address(server)}, OnPressure: pressure, MaxBody: 1 << 20}, Deps{JS: js})
	peak := watchMemory(t)
	began := time.Now()
	request, err := http.NewRequestWithContext(t.Context(), "PUT", c.url(0)+"/blob", io.LimitReader(zeros{}, size))
	if err != nil {
		t.Fatal(err)
	}
	request.ContentLength = size
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if got, err := io.ReadAll(answer.Body); string(got) != fmt.Sprint(size, " <nil>") {
		t.Fatalf("the server has %s, %v", got, err)
	}
	took, most := time.Since(began), peak()
	http.DefaultClient.CloseIdleConnections()
	c.stop()
	t.Logf("%d MiB in %.1f s, at most %d MiB of heap", size>>20, took.Seconds(), most>>20)
	// --buffer is 64 MiB; as much again for tapes under way and the server.
	if most > 128<<20 {
		t.Errorf("%d MiB of heap", most>>20)
	}
	counts := c.Counts()
	dropped := uint64(0)
	for _, n := range counts.Dropped {
		dropped += n
	}
	if counts.Begun != counts.Taped+dropped || counts.Open != 0 || pressure == "block" && counts.Taped != 1 {
		t.Errorf("counts %+v", counts)
	}
	for _, x := range play(t, tapesOf(t, js)).exchanges {
		if b := x.Request.GetBody(); pressure == "block" && (b.GetSize() != size || b.Kept != 1<<20-halved || x.Failure != "") {
			t.Errorf("on tape %d of %d bytes, failure %q", b.GetKept(), b.GetSize(), x.Failure)
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// watchMemory returns what says how much heap was in use at most since now.
func watchMemory(t *testing.T) (peak func() uint64) {
	done, most := make(chan struct{}), make(chan uint64)
	runtime.GC()
	go func() {
		var highest uint64
		var m runtime.MemStats
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			select {
			case <-tick.C:
				runtime.ReadMemStats(&m)
				highest = max(highest, m.HeapInuse)
			case <-done:
				tick.Stop()
				most <- highest
				return
			}
		}
	}()
	return func() uint64 { close(done); return <-most }
}
