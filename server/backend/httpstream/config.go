package httpstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// CheckURL says what is wrong with the URL of an API, of which example is a good
// one and method the path that drivers add themselves. Its errors repeat no
// secret.
func CheckURL(text, example, method string) error {
	example = "write it like " + example
	u, err := url.Parse(text)
	switch {
	case text == "":
		return fmt.Errorf("url is empty: %s", example)
	case err != nil:
		// The parser's error repeats the text, which may hold a password.
		return fmt.Errorf("url cannot be read: %s", example)
	case u.User != nil:
		return errors.New("url holds a user: put the secret into key")
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("url %q does not start with http:// or https://: %s", text, example)
	case u.Host == "":
		return fmt.Errorf("url %q has no host: %s", text, example)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fmt.Errorf("url of host %s has a query or a fragment, which the API does not: %s", u.Host, example)
	case strings.HasSuffix(strings.TrimRight(u.Path, "/"), method):
		return fmt.Errorf("url %q names one method: leave out %s", text, method)
	}
	return nil
}

// CheckHeader says which header the driver sets itself.
func CheckHeader(h http.Header, reserved ...string) error {
	reserved = append(reserved, "Accept", "Content-Length", "Content-Type", "Host")
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, http.CanonicalHeaderKey(name))
	}
	slices.Sort(names)
	for _, name := range names {
		if slices.Contains(reserved, name) {
			return fmt.Errorf("header %s is set by the driver: use key for a credential", name)
		}
	}
	return nil
}
