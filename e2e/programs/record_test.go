package programs

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapedeck/capture/ca"
)

// caller is a program that calls the URLs of its arguments.
type caller struct {
	name string
	argv []string
	// ignores says which URLs it calls without a proxy, whatever it is told.
	ignores func(url string) bool
}

func loopback(url string) bool { return strings.Contains(url, "//127.") }
func never(string) bool        { return false }
func always(string) bool       { return true }

func callers(t *testing.T) []caller {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []caller{
		{name: "curl", argv: []string{"curl", "-sS"}, ignores: never},
		{name: "go", argv: []string{"env", callVariable + "=1", self}, ignores: loopback},
		{name: "python", argv: []string{"/usr/bin/python3", "testdata/call.py"}, ignores: never},
		{name: "node", argv: []string{"node", "testdata/call.mjs"}, ignores: always}, // until Node 24
		{name: "java", argv: []string{"java", "testdata/Call.java"}, ignores: never},
	}
}

// TestRecordTheCallsOfACommand: `record -- CMD` with clients of five languages,
// which call a name and 127.0.0.1, in clear and by TLS.
func TestRecordTheCallsOfACommand(t *testing.T) {
	o := newOrigin(t, http.HandlerFunc(echo))
	for _, c := range callers(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.argv[0] != "env" {
				require(t, c.argv[0])
			}
			c.isRecorded(t, o)
		})
	}
}

func (c *caller) isRecorded(t *testing.T, o *origin) {
	binary := built(t)
	data := t.TempDir()
	record := []string{binary, "record", "--data", data, "--service", "caller", "--upstream-ca", o.roots, "--outbound", freePort(t)}
	var direct, through []string
	for i, base := range []string{"http://" + o.name + ":" + o.plain, "http://127.0.0.1:" + o.plain, "https://" + o.name + ":" + o.tls, "https://127.0.0.1:" + o.tls} {
		path := "/" + c.name + "/call-" + string(rune('a'+i))
		direct = append(direct, base+path)
		if c.ignores(base) { // it calls the dependency at an address of ours
			port := freePort(t)
			record = append(record, "--outbound", port+"="+strings.TrimPrefix(base, "http://"))
			base = "http://127.0.0.1:" + port
		}
		through = append(through, base+path)
	}
	want := run(t, c.trusting(t, o), append(c.argv, direct...)...)
	got := run(t, nil, append(append(append(record, "--"), c.argv...), through...)...)
	got, report, _ := strings.Cut(got, "\nrecorded ")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the program sees something else (-direct +recorded):\n%s", diff)
	}
	if !strings.HasPrefix(report, "4 exchanges") {
		t.Errorf("recorded %s", report)
	}
	list := onTape(t, data)
	for _, url := range direct {
		path := url[strings.LastIndex(url, "/"+c.name):]
		if strings.Count(list, `"path":"`+path+`"`) != 1 {
			t.Errorf("%s is not on tape once:\n%s", path, list)
		}
	}
}

// trusting is the environment in which the program trusts the origin without us.
func (c *caller) trusting(t *testing.T, o *origin) []string {
	store := filepath.Join(t.TempDir(), "roots.jks")
	if err := ca.WriteJavaStore(store, o.roots); err != nil {
		t.Fatal(err)
	}
	return append(ca.Variables(o.roots), "JAVA_TOOL_OPTIONS="+strings.Join(ca.JavaTrust(store), " "))
}
