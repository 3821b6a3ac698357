package capture

import (
	"crypto/subtle"
	"errors"
	"strings"

	"tapedeck/internal/service"
)

// credentials checks a client of the proxy against --proxy-user; nil lets
// everybody in.
func (s *Service) credentials() func(user, password string) bool {
	want := s.cfg.ProxyUser
	if want == "" {
		return nil
	}
	return func(user, password string) bool {
		return subtle.ConstantTimeCompare([]byte(user+":"+password), []byte(want)) == 1
	}
}

// checkProxyUser never repeats what it was given: it may be a password.
func checkProxyUser(s string) error {
	user, password, ok := strings.Cut(s, ":")
	if s == "" || ok && user != "" && len(user) <= 255 && len(password) <= 255 {
		return nil
	}
	return service.Hint(errors.New("--proxy-user is not USER:PASSWORD"), "a user's name, a colon, a password; each at most 255 bytes")
}
