package openai

import (
	"net/http"
	"strings"
	"testing"
)

func TestValidateNamesTheField(t *testing.T) {
	good := Config{Name: "east", URL: "https://api.example.com/v1", Key: "sk-1"}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"has no name":                 func(c *Config) { c.Name = "" },
		"url is empty":                func(c *Config) { c.URL = "" },
		"url cannot be read":          func(c *Config) { c.URL = "http://a:pw%zz@h" },
		"url holds a user":            func(c *Config) { c.URL = "http://me:s3cret@h/v1" },
		"does not start with http":    func(c *Config) { c.URL = "localhost:8000/v1" },
		"has no host":                 func(c *Config) { c.URL = "http:///v1" },
		"has a query":                 func(c *Config) { c.URL = "http://h/v1?key=s3cret" },
		"names one method":            func(c *Config) { c.URL = "http://h/v1/chat/completions/" },
		"key has a space":             func(c *Config) { c.Key = "s3cret\n" },
		"header Authorization is set": func(c *Config) { c.Header = http.Header{"authorization": {"Bearer s3cret"}} },
		"dial timeout is -1":          func(c *Config) { c.DialTimeout = -1 },
		"header timeout is -1":        func(c *Config) { c.HeaderTimeout = -1 },
		`service class is "flex"`:     func(c *Config) { c.ServiceClass = "flex" },
		"candidates are 129":          func(c *Config) { c.Candidates = 129 },
		"max output tokens are -1":    func(c *Config) { c.MaxOutputTokens = -1 },
	} {
		c := good
		change(&c)
		_, err := New(c)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("error is %v, want one that says %q", err, want)
		}
		if err != nil && c.Name != "" && !strings.Contains(err.Error(), `"east"`) {
			t.Errorf("error %v does not name the backend", err)
		}
	}
}
