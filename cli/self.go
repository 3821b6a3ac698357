package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// self is how the user called this program, for command lines to copy.
// `go run` deletes its binary, so that is called again as it was.
func self() []string {
	if exe, err := os.Executable(); err == nil && strings.Contains(exe, string(filepath.Separator)+"go-build") {
		return []string{"go", "run", "."}
	}
	return os.Args[:1]
}

// quote writes an argument as a shell reads it.
func quote(s string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=@%+,", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !safe(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// commandLine writes a command of ours for a shell.
func commandLine(args ...string) string {
	words := append(slices.Clone(self()), args...)
	for i := range words {
		words[i] = quote(words[i])
	}
	return strings.Join(words, " ")
}
