package events

import (
	"fmt"
	"strings"
)

// Subjects without a token from outside.
const (
	SubjectScenarioRequest = "scenario.request"
	SubjectReplayRequest   = "replay.request"
)

// CapturedSubject carries the tapes of a service.
func CapturedSubject(w *Workload) string { return workloadSubject("captured", w) }

// ArchivedSubject says where the tapes of a service lie in the archive.
func ArchivedSubject(w *Workload) string { return workloadSubject("archived", w) }

// IndexedSubject says which tapes of a service are in the index.
func IndexedSubject(w *Workload) string { return workloadSubject("indexed", w) }

// ScenarioReadySubject announces a version of the scenario.
func ScenarioReadySubject(name string) string { return "scenario.ready." + Token(name) }

// ReplayShardSubject carries the shares of a replay to the replayers.
func ReplayShardSubject(id string) string { return "replay.shard." + Token(id) }

// ReplayControlSubject carries prepare, start, cancel and chaos of a replay.
func ReplayControlSubject(id string) string { return "replay.control." + Token(id) }

// ReplayMockedSubject carries what the mocks of a replay say.
func ReplayMockedSubject(id string) string { return "replay.mocked." + Token(id) }

// ReplayProgressSubject carries 1 s snapshots of a replay.
func ReplayProgressSubject(id string) string { return "replay.progress." + Token(id) }

// ReplayResultSubject carries the result of a replay.
func ReplayResultSubject(id string) string { return "replay.result." + Token(id) }

// DeadLetters are the subjects of all dead letters.
const DeadLetters = "dlq.>"

// DeadLetterSubject carries messages of a stream that can never be handled.
func DeadLetterSubject(stream string) string { return "dlq." + Token(stream) }

func workloadSubject(prefix string, w *Workload) string {
	return prefix + "." + Token(w.Cluster) + "." + Token(w.Namespace) + "." + Token(w.Service)
}

const tokenHex = "0123456789ABCDEF"

// Token escapes a text from outside into exactly one subject token, which is
// safe as a file name too: all but letters, digits, '-' and '_' becomes %XX,
// and the empty text becomes "%". Two texts never share a token.
func Token(s string) string {
	if s == "" {
		return "%"
	}
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', tokenHex[c>>4], tokenHex[c&15]})
	}
	return b.String()
}

// Untoken is the inverse of Token.
func Untoken(token string) (string, error) {
	if token == "%" {
		return "", nil
	}
	var b strings.Builder
	for i := 0; i < len(token); i++ {
		if token[i] != '%' {
			b.WriteByte(token[i])
			continue
		}
		if i+2 >= len(token) {
			return "", fmt.Errorf("token %q ends inside an escape", token)
		}
		hi, lo := strings.IndexByte(tokenHex, token[i+1]), strings.IndexByte(tokenHex, token[i+2])
		if hi < 0 || lo < 0 {
			return "", fmt.Errorf("token %q has an escape that is not %%XX", token)
		}
		b.WriteByte(byte(hi<<4 | lo))
		i += 2
	}
	return b.String(), nil
}
