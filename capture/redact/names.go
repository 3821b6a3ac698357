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

// Credential says that values under this name are credentials.
func Credential(name []byte) bool {
	if len(name) < 3 || len(name) > maxName {
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
