package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// secretsFile is a file of secrets:
//
//	secrets:
//	  "td1_0a1b2c3d_…": what it stands for
type secretsFile struct {
	Secrets map[string]string `yaml:"secrets"`
}

const maxSecretsFile = 16 << 20

// WaiveWord in the place of a secrets file lets tokens be sent as they are.
const WaiveWord = "off"

// OpenSecrets reads a file of secrets; name "" is none. exposed says that
// others on this machine may read it. No error repeats what is in it.
func OpenSecrets(name string) (s *Secrets, exposed bool, err error) {
	switch name {
	case "":
		return nil, false, nil
	case WaiveWord:
		return WaiveSecrets(), false, nil
	}
	values, mode, err := readSecrets(name)
	if err != nil {
		return nil, false, fmt.Errorf("open secrets: %w", err)
	}
	return NewSecrets(values), mode.Perm()&0o077 != 0, nil
}

// ServiceSecrets is OpenSecrets for a service, which reads its file again and
// again: one that is not there yet is none.
func ServiceSecrets(name string, log *slog.Logger) (*Secrets, error) {
	s, exposed, err := OpenSecrets(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		log.Warn("there are no secrets yet", "file", name)
		return nil, nil
	case exposed:
		log.Warn("the secrets can be read by others", "file", name, "hint", "chmod 600")
	}
	return s, err
}

func readSecrets(name string) (values map[string]string, mode fs.FileMode, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxSecretsFile+1))
	if err != nil {
		return nil, 0, err
	}
	if len(raw) > maxSecretsFile {
		return nil, 0, fmt.Errorf("%s is over the bound of %d bytes", name, maxSecretsFile)
	}
	values, err = parseSecrets(raw)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", name, err)
	}
	return values, info.Mode(), nil
}

var errSecrets = errors.New(`it is no YAML of the form "secrets:" with lines of TOKEN: VALUE below`)

// parseSecrets hides what the parser has to say: it quotes the file.
func parseSecrets(raw []byte) (map[string]string, error) {
	var f secretsFile
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, errSecrets
	}
	return f.Secrets, nil
}

// WriteSecrets writes a file of secrets with a line for each credential, and
// what each is used for. Values that the file has already stay, those of other
// scenarios too.
func WriteSecrets(name string, m *Manifest) error {
	values, _, err := readSecrets(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write secrets: %w", err)
	}
	var b bytes.Buffer
	FormatSecrets(&b, m, values)
	return replaceFile(name, b.Bytes())
}

// replaceFile writes aside first: a full disk must not cost the values that
// are there.
func replaceFile(name string, text []byte) error {
	beside := name + ".new"
	os.Remove(beside) // left over, it might be readable by others
	if err := os.WriteFile(beside, text, 0o600); err != nil {
		return fmt.Errorf("write secrets: %w", err)
	}
	if err := os.Rename(beside, name); err != nil {
		return fmt.Errorf("write secrets: %w", err)
	}
	return nil
}

// FillSecrets writes what is known, by token, into the empty lines of a file
// of secrets. Everything else in it stays.
func FillSecrets(name string, known map[string]string) (filled, empty int, err error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return 0, 0, fmt.Errorf("fill secrets: %w", err)
	}
	if _, err := parseSecrets(raw); err != nil {
		return 0, 0, fmt.Errorf("fill secrets: %s: %w", name, err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(raw, &document); err != nil || len(document.Content) != 1 || len(document.Content[0].Content) != 2 {
		return 0, 0, fmt.Errorf("fill secrets: %s: %w", name, errSecrets)
	}
	lines := document.Content[0].Content[1].Content // name, value, name, value
	for i := 0; i+1 < len(lines); i += 2 {
		token, line := lines[i].Value, lines[i+1]
		if line.Value != "" {
			continue
		}
		value, ok := known[token]
		if !ok {
			empty++
			continue
		}
		filled++
		line.SetString(value)
		line.Style = yaml.DoubleQuotedStyle
	}
	text, err := yaml.Marshal(&document)
	if err != nil {
		return 0, 0, fmt.Errorf("fill secrets: %w", err)
	}
	return filled, empty, replaceFile(name, text)
}

// FormatSecrets is the text of a file of secrets.
func FormatSecrets(b *bytes.Buffer, m *Manifest, values map[string]string) {
	fmt.Fprintf(b, "# What redaction's tokens in the scenario %s stand for: fill in what you know, real\n"+
		"# or another account's. A token as its own value is sent as it is. Keep this file\n# to yourself.\nsecrets:\n", singleLine(m.Name))
	known := map[string]bool{}
	for i, c := range m.Credentials {
		switch {
		case i == 0 && c.Needed:
			b.WriteString("\n  # Needed:\n")
		case !c.Needed && (i == 0 || m.Credentials[i-1].Needed):
			b.WriteString("\n  # Sent as their tokens where nothing is given:\n")
		}
		known[c.Token] = true
		fmt.Fprintf(b, "  # %s: %s, in %d tests\n  %s: %s\n", c.Class, singleLine(strings.Join(c.Places, ", ")), c.Tests, quoteJSON(c.Token), quoteJSON(values[c.Token]))
	}
	var others []string
	for token := range values {
		if !known[token] {
			others = append(others, token)
		}
	}
	if len(others) > 0 {
		b.WriteString("\n  # Of other scenarios:\n")
	}
	slices.Sort(others)
	for _, token := range others {
		fmt.Fprintf(b, "  %s: %s\n", quoteJSON(token), quoteJSON(values[token]))
	}
}

// singleLine keeps a text from the wire within a comment.
func singleLine(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == 0x85 || c == 0x2028 || c == 0x2029 || c == 0xfeff {
			return ' '
		}
		return c
	}, s)
}
