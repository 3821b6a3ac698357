package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"tapedeck/events"
)

// The JUnit form that CI servers read: a test case for each endpoint, one for
// each mocked dependency, one for the verdict.
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Errors    int         `xml:"errors,attr"`
	Time      string      `xml:"time,attr"`
	Timestamp string      `xml:"timestamp,attr"`
	Levels    []junitFact `xml:"properties>property"`
	Cases     []junitCase `xml:"testcase"`
}

// junitFact is what a CI server shows beside the counts.
type junitFact struct {
	Name  string `xml:"name,attr"`
	Value int    `xml:"value,attr"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitProblem `xml:"failure"`
	Error   *junitProblem `xml:"error"`
}

type junitProblem struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// JUnit writes the result as JUnit XML.
func JUnit(w io.Writer, r events.ReplayResult) error {
	elapsed := seconds(r.EndedAt.Sub(r.StartedAt))
	suite := junitSuite{Name: "replay " + r.Scenario, Time: elapsed, Timestamp: r.StartedAt.UTC().Format("2006-01-02T15:04:05")}
	if r.Tests.Redacted > 0 {
		suite.Levels = append(suite.Levels, junitFact{"passed by redacted values", r.Tests.Redacted})
	}
	for _, m := range r.Mocks {
		if m.Redacted > 0 {
			suite.Levels = append(suite.Levels, junitFact{"mock of " + m.Dependency + " served by redacted values", m.Redacted})
		}
	}
	for _, e := range r.Endpoints {
		suite.add(endpointCase(r, e))
	}
	for _, m := range r.Mocks {
		suite.add(mockCase(r, m))
	}
	suite.add(verdictCase(r))
	all := junitSuites{Name: "tapedeck", Tests: suite.Tests, Failures: suite.Failures, Errors: suite.Errors, Time: elapsed, Suites: []junitSuite{suite}}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (s *junitSuite) add(c junitCase) {
	s.Cases = append(s.Cases, c)
	s.Tests++
	if c.Failure != nil {
		s.Failures++
	}
	if c.Error != nil {
		s.Errors++
	}
}

func endpointCase(r events.ReplayResult, e events.EndpointResult) junitCase {
	c := junitCase{Class: r.Scenario, Name: e.Method + " " + e.Template, Time: seconds(time.Duration(e.Latency.Count) * e.Latency.Mean)}
	if bad := e.Tests.Missed + e.Tests.Failed; bad > 0 {
		c.Failure = &junitProblem{
			Message: fmt.Sprintf("%d of %d missed", bad, e.Tests.Total), Type: "missed", Text: missesText(r.Misses, e),
		}
	} else if e.Tests.Unchecked > 0 {
		c.Error = &junitProblem{Message: fmt.Sprintf("%d of %d could not be checked", e.Tests.Unchecked, e.Tests.Total), Type: "incomplete"}
	}
	return c
}

func missesText(all []events.Miss, e events.EndpointResult) string {
	var b strings.Builder
	for _, m := range all {
		if m.Method != e.Method || m.Endpoint != e.Template {
			continue
		}
		fmt.Fprintf(&b, "%s %s (session %s)\n", m.Method, m.Path, m.Session)
		if m.Failure != "" {
			fmt.Fprintf(&b, "  no complete answer: %s\n", m.Failure)
		}
		for _, d := range m.Diffs {
			fmt.Fprintf(&b, "  %s: want %s, got %s\n", d.Place, d.Want, d.Got)
		}
	}
	return b.String()
}

func mockCase(r events.ReplayResult, m events.MockResult) junitCase {
	c := junitCase{Class: r.Scenario, Name: "mock " + m.Dependency, Time: "0"}
	if m.Missed > 0 {
		var b strings.Builder
		for _, miss := range m.Misses {
			fmt.Fprintf(&b, "%s %s\n", miss.Method, miss.Path)
			for _, d := range miss.Diffs {
				fmt.Fprintf(&b, "  %s: closest %s, got %s\n", d.Place, d.Want, d.Got)
			}
		}
		c.Failure = &junitProblem{Message: counted(m.Missed, "call was", "calls were") + " not recorded", Type: "missed", Text: b.String()}
	}
	return c
}

func verdictCase(r events.ReplayResult) junitCase {
	c := junitCase{Class: r.Scenario, Name: "verdict", Time: seconds(r.EndedAt.Sub(r.StartedAt))}
	switch r.Verdict {
	case events.Passed:
	case events.Missed:
		c.Failure = &junitProblem{Message: r.Reason, Type: string(r.Verdict)}
	default:
		c.Error = &junitProblem{Message: r.Reason, Type: string(r.Verdict)}
	}
	return c
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", max(d, 0).Seconds()) }
