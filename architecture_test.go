package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// edges says which of our packages each package may import: its own folder and
// those named here. Services never import each other; what one reads of
// another's store it reads through that store's reading package.
var edges = map[string][]string{
	"events":               {},
	"events/selector":      {"events"},
	"wire":                 {"events"},
	"capture":              {"events", "wire", "internal/service"},
	"capture/bench":        {"events", "internal/service", "internal/benchtest", "capture/ca"},
	"archiver":             {"events", "internal/service"},
	"indexer":              {"events", "internal/service"},
	"scenariogen":          {"events", "wire", "archiver/tapes", "indexer/traffic", "internal/service", "internal/jobs"},
	"replayer":             {"events", "wire", "archiver/tapes", "scenariogen/scenario", "internal/service", "internal/jobs"},
	"mocksrv":              {"events", "wire", "archiver/tapes", "scenariogen/scenario", "internal/service", "internal/jobs"},
	"grafana-plugin":       {"events", "archiver/tapes", "indexer/traffic", "scenariogen/scenario", "internal/service"},
	"internal/service":     {"events"},
	"internal/jobs":        {"events"},
	"internal/broker":      {"internal/service"},
	"archiver/tapes":       {"events"},
	"indexer/traffic":      {"events"},
	"scenariogen/scenario": {"events", "wire", "archiver/tapes"},
	"replayer/report":      {"events"},
	"capture/redact":       {"events", "wire"},
	"capture/spool":        {"events"},
}

// onlyUnder says where a library may be imported.
var onlyUnder = map[string][]string{
	"github.com/grafana/grafana-plugin-sdk-go": {"grafana-plugin"},
	"github.com/nats-io/nats-server/v2":        {"internal/broker"},
	"github.com/jackc/pgx/v5":                  {"indexer/traffic", "internal/pgtest", "e2e"},
	"github.com/aws/aws-sdk-go-v2":             {"archiver/tapes", "internal/s3test", "e2e"},
	"github.com/gopacket/gopacket":             {"cli/formats"},
	"github.com/andybalholm/brotli":            {"capture"},
	"go.yaml.in/yaml/v3":                       {"capture", "scenariogen/scenario"},
}

type listed struct {
	ImportPath string
	Imports    []string
}

func TestImportEdges(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p listed
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		seen++
		pkg := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, "tapedeck"), "/")
		for _, imported := range p.Imports {
			checkEdge(t, pkg, imported)
		}
	}
	if seen < 10 {
		t.Fatalf("go list named %d packages: this test looks at nothing", seen)
	}
}

func checkEdge(t *testing.T, pkg, imported string) {
	for library, folders := range onlyUnder {
		if within(imported, library) && !slices.ContainsFunc(folders, func(f string) bool { return within(pkg, f) }) {
			t.Errorf("%s imports %s, which belongs only under %v", pkg, imported, folders)
		}
	}
	ours, isOurs := strings.CutPrefix(imported, "tapedeck/")
	rule := ruleOf(pkg)
	if !isOurs || rule == "" || within(ours, rule) {
		return
	}
	if !slices.ContainsFunc(edges[rule], func(allowed string) bool { return within(ours, allowed) }) {
		t.Errorf("%s imports %s; it may import %v only", pkg, ours, edges[rule])
	}
}

// ruleOf is the longest folder with a rule that holds pkg, "" for the tree's
// composing ends (main, cli, tests' own packages).
func ruleOf(pkg string) string {
	best := ""
	for folder := range edges {
		if within(pkg, folder) && len(folder) > len(best) {
			best = folder
		}
	}
	return best
}

func within(pkg, folder string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }

// One word for one thing: these are other words for ours.
var otherWords = map[string]string{
	`\bcassettes?\b`:                        "tape",
	`\brr-?pairs?\b`:                        "exchange",
	`\brequest[-/ ]response pairs?\b`:       "exchange",
	`\btest ?suites? of (calls|requests)\b`: "scenario",
	`\bsnapshots? of (traffic|calls)\b`:     "scenario",
	`\bvirtual services?\b`:                 "mock",
	`\btest verdict: (ok|fail)\b`:           "verdict",
	`\bupstream services?\b`:                "dependency",
	`\bdownstream services?\b`:              "dependency",
	`\btraffic queries\b`:                   "selector",
	`\broute templates?\b`:                  "path template",
	`\bingress traffic\b`:                   "inbound",
	`\begress traffic\b`:                    "outbound",
}

func TestWords(t *testing.T) {
	files := trackedFiles(t)
	for pattern, word := range otherWords {
		re := regexp.MustCompile(`(?i)` + pattern)
		for name, text := range files {
			if at := re.FindStringIndex(text); at != nil {
				t.Errorf("%s:%d says %q; the word is %q", name, 1+strings.Count(text[:at[0]], "\n"), text[at[0]:at[1]], word)
			}
		}
	}
}

// What belongs to one machine or to nobody must not be in the tree.
func TestNothingLocal(t *testing.T) {
	re := regexp.MustCompile(`(^|[^\w.])/(work|farm|root|home/\w+)/|\b(FIXME|XXX)\b`)
	for name, text := range trackedFiles(t) {
		if at := re.FindStringIndex(text); at != nil {
			t.Errorf("%s:%d holds %q", name, 1+strings.Count(text[:at[0]], "\n"), text[at[0]:at[1]])
		}
	}
}

func trackedFiles(t *testing.T) map[string]string {
	t.Helper()
	out, err := exec.Command("git", "ls-files", "-z").Output()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for name := range strings.SplitSeq(string(out), "\x00") {
		switch filepath.Ext(name) {
		case ".go", ".md", ".ts", ".tsx", ".sh", ".sql", ".proto", ".yaml", ".json", ".txtar":
		default:
			continue
		}
		if name == "architecture_test.go" || strings.HasSuffix(name, "package-lock.json") {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			continue // deleted in the work tree
		}
		files[name] = string(b)
	}
	if len(files) < 10 {
		t.Fatalf("%d files: this test looks at nothing", len(files))
	}
	return files
}

// Each service says in its package comment what its operators need to know.
func TestServicesExplainThemselves(t *testing.T) {
	for _, service := range []string{"capture", "archiver", "indexer", "scenariogen", "replayer", "mocksrv"} {
		out, err := exec.Command("go", "doc", "./"+service).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, heading := range []string{"What it does", "Consumes", "Publishes", "Guarantees", "When it fails"} {
			if !regexp.MustCompile(`(?m)^#+ ` + heading + `$`).Match(out) {
				t.Errorf("the comment of package %s has no heading %q", service, heading)
			}
		}
	}
}
