package events

import (
	"regexp"
	"strings"
)

// Hidden stands in reports and results where a live credential would.
const Hidden = "(hidden)"

var secretName = regexp.MustCompile(`(?i)(authorization|cookie|token|secret|password|passwd|api[-_]?key|session|signature|credential)`)

// maxName bounds what is looked at of a name: its end says what it is.
const maxName = 300

// IsSecretName says that what has this name (a header, a parameter, a place) is
// likely to be a credential.
func IsSecretName(name string) bool {
	return secretName.MatchString(name[max(0, len(name)-maxName):])
}

// HideSecrets leaves live credentials out of differences, by the names of their
// places. A redaction token is no secret.
func HideSecrets(all []Difference) []Difference {
	safe := make([]Difference, 0, len(all))
	for _, d := range all {
		if IsSecretName(d.Place) {
			d.Want, d.Got = hideValue(d.Want), hideValue(d.Got)
		}
		safe = append(safe, d)
	}
	return safe
}

// hideValue keeps what only says whether there is a value.
func hideValue(s string) string {
	if s == "" || s == "set" || strings.HasPrefix(s, "(missing") || strings.Contains(s, "td1_") {
		return s
	}
	return Hidden
}
