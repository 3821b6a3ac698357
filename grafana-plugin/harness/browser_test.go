package harness

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"tapedeck/events"
)

// The built browser side in a real browser, before the real plugin and a real
// index. It needs what `make harness` builds.
func TestBrowser(t *testing.T) {
	if os.Getenv("TAPEDECK_CHROMIUM") == "" {
		t.Skip("`make -C grafana-plugin harness` runs this in Chromium")
	}
	x := newIndex(t)
	at := time.Now().Add(-time.Hour).Truncate(time.Minute)
	x.write(
		sample{at: at, direction: events.Direction_INBOUND, host: "shop:80", status: "200", class: events.StatusClass_OK},
		sample{at: at.Add(time.Second), direction: events.Direction_OUTBOUND, host: "pay:443", status: "503", class: events.StatusClass_SERVER},
	)
	server := httptest.NewServer(grafana(start(t), x.source()))
	defer server.Close()

	cmd := exec.CommandContext(t.Context(), "node", "check.cjs", server.URL+"/?at="+strconv.FormatInt(at.UnixMilli(), 10), "out")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
