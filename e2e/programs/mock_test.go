package programs

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMocksForPrograms: what a program has called is mocked for it when the
// server is gone, by its name and at 127.0.0.1.
func TestMocksForPrograms(t *testing.T) {
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range callers(t) {
		if c.name != "curl" && c.name != "java" {
			continue // Go and Node call loopback without a proxy, Python does as curl
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require(t, c.argv[0])
			app := httptest.NewUnstartedServer(http.HandlerFunc(echo))
			app.Listener = listen(t)
			app.Start()
			port := portOf(app.Listener)
			cmd := append([]string{"--"}, append(c.argv, "http://"+name+":"+port+"/by-name?a=b", "http://127.0.0.1:"+port+"/by-address")...)
			data := t.TempDir()
			tapedeck := func(args ...string) string { return run(t, nil, append([]string{built(t)}, args...)...) }
			recorded, _, _ := strings.Cut(tapedeck(append([]string{"record", "--data", data, "--service", "caller", "--outbound", freePort(t)}, cmd...)...), "\nrecorded ")
			app.Close()
			tapedeck("scenario", "create", "calls", "--data", data, "--last")
			mocked, _, _ := strings.Cut(tapedeck(append([]string{"mock", "calls", "--data", data}, cmd...)...), "  mock of ")
			if diff := cmp.Diff(strings.TrimSpace(recorded), strings.TrimSpace(mocked)); diff != "" || !strings.Contains(mocked, "/by-address") {
				t.Errorf("the mock answers something else (-recorded +mocked):\n%s", diff)
			}
		})
	}
}
