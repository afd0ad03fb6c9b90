package main

import (
	"net/url"
	"regexp"
	"strings"
)

// providerHosts tells whose models are behind a host. Only hosts are here whose
// bills are in USD at the list that the default prices are of: those in China of
// Alibaba, Moonshot, MiniMax and Zhipu bill in CNY at lists of their own.
var providerHosts = map[string]string{
	"api.anthropic.com":                 "anthropic",
	"api.cohere.ai":                     "cohere",
	"api.cohere.com":                    "cohere",
	"api.deepseek.com":                  "deepseek",
	"api.groq.com":                      "groq",
	"api.minimax.io":                    "minimax",
	"api.mistral.ai":                    "mistral",
	"api.moonshot.ai":                   "moonshot",
	"api.openai.com":                    "openai",
	"api.x.ai":                          "xai",
	"api.z.ai":                          "zai",
	"dashscope-intl.aliyuncs.com":       "alibaba",
	"generativelanguage.googleapis.com": "google",
}

var providerName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$`)

// noProvider says in the configuration that a backend is nobody's.
const noProvider = "none"

// provider is whose models a backend serves, "" where that is not known: a
// server of one's own has a model's name and not its price.
func (c BackendConfig) provider() string {
	switch c.Provider {
	case noProvider:
		return ""
	case "":
		u, err := url.Parse(c.URL)
		if err != nil || u.Scheme != "https" || u.Port() != "" && u.Port() != "443" {
			return ""
		}
		return providerHosts[strings.ToLower(u.Hostname())]
	}
	return c.Provider
}

func (c *Config) providers() *map[string]string {
	all := map[string]string{}
	for _, b := range c.Backends {
		all[b.Name] = b.provider()
	}
	return &all
}

// provider tells whose a backend is.
func (w *weir) provider(backend string) string { return (*w.providers.Load())[backend] }
