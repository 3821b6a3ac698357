package scenario

import (
	"fmt"
	"regexp"
)

var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// CheckName refuses a name that no scenario may have: it is part of keys,
// file names, subjects and command lines. The error is an *InvalidError.
func CheckName(name string) error {
	if plainName.MatchString(name) {
		return nil
	}
	return &InvalidError{Reason: fmt.Sprintf("the name %.100q is none for a scenario: use letters, digits, dots, dashes and underscores, at most 100, a letter or digit first", name)}
}
