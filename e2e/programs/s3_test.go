package programs

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapedeck/capture/ca"
	"tapedeck/internal/s3test"
)

// TestAWSSDKs: the SDKs of two languages use an S3 server by TLS that is
// opened: bodies that are sent whole, streamed in chunks with trailers, in
// parts, and by presigned URLs. Whatever we changed would break a signature.
func TestAWSSDKs(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	require(t, "/usr/bin/python3")
	o := newOrigin(t, nil)
	for name, argv := range map[string][]string{
		"go":     {"env", s3Variable + "=1", self},
		"python": {"/usr/bin/python3", "testdata/s3.py"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s3IsRecorded(t, o, argv)
		})
	}
}

func s3IsRecorded(t *testing.T, o *origin, argv []string) {
	server := s3test.StartTLS(t, o.cert, o.key, "direct", "recorded")
	_, port, _ := net.SplitHostPort(server.Address)
	variables := []string{"ENDPOINT=https://" + o.name + ":" + port, "AWS_ACCESS_KEY_ID=" + server.Access, "AWS_SECRET_ACCESS_KEY=" + server.Secret, "AWS_EC2_METADATA_DISABLED=true"}
	want, wantCalls := runBoth(t, slices.Concat(variables, ca.Variables(o.roots), []string{"BUCKET=direct"}), argv...)
	data := t.TempDir()
	record := []string{built(t), "record", "--data", data, "--service", "caller", "--upstream-ca", o.roots, "--outbound", freePort(t), "--"}
	got, gotCalls := runBoth(t, append(variables, "BUCKET=recorded"), append(record, argv...)...)
	got, report, _ := strings.Cut(got, "\nrecorded ")
	if diff := cmp.Diff(strings.TrimSpace(want), strings.TrimSpace(got)); diff != "" {
		t.Errorf("the program sees something else (-direct +recorded):\n%s", diff)
	}
	called := callsIn(gotCalls, "recorded")
	if diff := cmp.Diff(callsIn(wantCalls, "direct"), called); diff != "" || len(called) < 15 {
		t.Errorf("the program calls something else (-direct +recorded):\n%s", diff)
	}
	list := onTape(t, data)
	slices.Sort(called)
	if diff := cmp.Diff(called, s3OnTape(t, list)); diff != "" {
		t.Errorf("(-called +on tape):\n%s\n%s", diff, report)
	}
	shown := run(t, nil, built(t), "traffic", "show", "--data", data, "-o", "json", chunkedUpload(t, list))
	for _, part := range []string{"STREAMING-UNSIGNED-PAYLOAD-TRAILER", "aws-chunked"} {
		if !strings.Contains(shown, part) {
			t.Errorf("%s is not on tape:\n%.2000s", part, shown)
		}
	}
}

var calledLine = regexp.MustCompile(`(?m)^call ([A-Z]+) https://[^/]+(/\S*)$`)

// callsIn are what a program says that it has called.
func callsIn(said, bucket string) (all []string) {
	for _, m := range calledLine.FindAllStringSubmatch(said, -1) {
		all = append(all, m[1]+" "+strings.Replace(m[2], "/"+bucket, "", 1))
	}
	return all
}

type s3Row struct{ ID, Method, Path string }

func s3Rows(t *testing.T, list string) (rows []s3Row) {
	for line := range strings.Lines(list) {
		var r s3Row
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		r.Path = strings.Replace(r.Path, "/recorded", "", 1)
		rows = append(rows, r)
	}
	return rows
}

func s3OnTape(t *testing.T, list string) (all []string) {
	for _, r := range s3Rows(t, list) {
		all = append(all, r.Method+" "+r.Path)
	}
	slices.Sort(all)
	return all
}

// chunkedUpload is one that both programs send in chunks.
func chunkedUpload(t *testing.T, list string) (id string) {
	for _, r := range s3Rows(t, list) {
		if r.Method == "PUT" && (filepath.Base(r.Path) == "chunked" || strings.HasPrefix(r.Path, "/streamed/300000")) {
			return r.ID
		}
	}
	t.Fatalf("no upload in chunks:\n%s", list)
	return ""
}
