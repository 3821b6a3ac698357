package redact

import "strings"

// credentialNames hold credentials whatever their letter case, '-' and '_':
// in headers, query parameters, forms and JSON keys alike, so that equal
// values get equal tokens in all of them.
var credentialNames = map[string]bool{}

func init() {
	for _, name := range []string{
		"token", "accesstoken", "refreshtoken", "idtoken", "authtoken", "sessiontoken", "securitytoken", "bearertoken", "apitoken",
		"apikey", "accesskey", "accesskeyid", "secretkey", "secretaccesskey", "privatekey", "subscriptionkey", "sessionkey", "functionskey",
		"secret", "clientsecret", "apisecret", "appsecret",
		"authorization", "proxyauthorization", "auth", "jwt", "sig", "signature", "assertion", "clientassertion",
		"session", "sessionid", "sid", "csrf", "xsrf",
		"xamzsignature", "xamzcredential", "xgoogsignature", "xgoogcredential",
	} {
		credentialNames[name] = true
	}
}

var credentialEndings = []string{"token", "apikey", "secret", "accesskey", "privatekey"}

// notCredentials end like one and are none: pages of a list.
var notCredentials = []string{"page", "next", "continuation", "cursor", "sync", "resume"}

const maxName = 128

// possible holds, for the last letter of a name, the first letters that a
// credential's can have: most names are told by two letters.
var possible [26]uint32

func init() {
	for name := range credentialNames {
		possible[name[len(name)-1]-'a'] |= 1 << (name[0] - 'a')
	}
	for _, ending := range credentialEndings {
		possible[ending[len(ending)-1]-'a'] = 1<<26 - 1
	}
}

// mayBe is quick and says no to nothing that is one. Letters beyond ASCII and
// signs at an end take the long way.
func mayBe(name []byte) bool {
	first, last := name[0]|0x20-'a', name[len(name)-1]|0x20-'a'
	return last > 25 || first > 25 && possible[last] != 0 || possible[last]&(1<<first) != 0
}

// Credential says that values under this name are credentials.
func Credential(name []byte) bool {
	if len(name) < 3 || len(name) > maxName || !mayBe(name) {
		return false
	}
	var plain [maxName]byte
	n := 0
	for _, c := range name {
		switch {
		case c == '-' || c == '_' || c == '.':
		case c >= 'A' && c <= 'Z':
			plain[n] = c + 'a' - 'A'
			n++
		default:
			plain[n] = c
			n++
		}
	}
	if credentialNames[string(plain[:n])] {
		return true
	}
	return endsLikeCredential(string(plain[:n]))
}

func endsLikeCredential(plain string) bool {
	for _, ending := range credentialEndings {
		if stem, ok := strings.CutSuffix(plain, ending); ok {
			for _, no := range notCredentials {
				if strings.HasSuffix(stem, no) {
					return false
				}
			}
			return true
		}
	}
	return false
}
