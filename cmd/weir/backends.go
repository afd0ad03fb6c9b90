package main

import (
	"crypto/x509"
	"fmt"
	"hash/fnv"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/anthropic"
	"github.com/weir-gateway/weir/server/backend/gemini"
	"github.com/weir-gateway/weir/server/backend/oip"
	"github.com/weir-gateway/weir/server/backend/openai"
	"github.com/weir-gateway/weir/server/backend/simulator"
	backendweir "github.com/weir-gateway/weir/server/backend/weir"
)

// BackendConfig is a server of models.
type BackendConfig struct {
	// Name is what targets call it by.
	Name string `yaml:"name"`
	// Kind is openai (any server that speaks the OpenAI HTTP API), anthropic
	// (the same of Anthropic's Messages API), gemini (Google's, over gRPC), oip (the Open Inference Protocol over
	// gRPC), weir (another Weir, or a sidecar that speaks weir.v1) or simulator.
	Kind string `yaml:"kind"`
	// Dialect is what a server of kind openai is, where that is known: azure,
	// deepseek, llamacpp, ollama, openai, qwen, sglang or vllm. Empty is what most take.
	Dialect string `yaml:"dialect"`
	// APIVersion is the version of Azure's API that has deployments in its paths
	// (dialect azure); empty for its v1 API.
	APIVersion string `yaml:"api_version"`
	// URL is where it is: of an HTTP API up to and with /v1, of the others the
	// gRPC port.
	URL       string `yaml:"url"`
	KeyConfig `yaml:",inline"`
	// CA is a PEM file of the CAs that vouch for it (kinds that speak gRPC); empty
	// are those of this machine.
	CA string `yaml:"ca"`
	// Tags say what it is, for example private: policies and conditions ask for
	// them.
	Tags []string `yaml:"tags"`
	// Region is where it is, for conditions.
	Region string `yaml:"region"`
	// Provider is whose models they are, as prices name it; none where the
	// provider's prices do not hold. Where nothing is said it follows from the host
	// of the URL.
	Provider string `yaml:"provider"`
	// Candidates is the most answers that it gives one call (kinds openai, gemini
	// and weir); 1 where nothing is said, since many servers ignore a wish for more.
	Candidates int `yaml:"candidates"`
	// Load is how it tells how busy it is.
	Load LoadConfig `yaml:"load"`
	// Media is what its models take beside text: image, audio, video and file,
	// each with the most input tokens that one of it can be, for which a call
	// holds money. Of kind simulator it takes all.
	Media map[backend.Modality]int64 `yaml:"media"`
	// MediaURLs lets callers send addresses from which the backend fetches media.
	// One that stands in a network of its own would fetch what they could not.
	MediaURLs bool `yaml:"media_urls"`
	// MediaOutput is what its models answer with where they are asked for it, each
	// with the most output tokens that one of it can be.
	MediaOutput map[backend.Modality]int64 `yaml:"media_output"`
	// ServiceClass is the class of service that it is asked for where a call asks
	// for none (kind openai of dialects azure and openai: standard, flex, priority,
	// scale; kind anthropic: standard); empty leaves it to the provider.
	ServiceClass accounting.ServiceClass `yaml:"service_class"`
	// OIP is how a server of kind oip is spoken to.
	OIP OIPConfig `yaml:"oip"`
}

// examples are URLs as each kind has them.
var examples = map[string]string{
	"openai":    "http://127.0.0.1:8000/v1",
	"anthropic": "https://api.anthropic.com/v1",
	"gemini":    "https://generativelanguage.googleapis.com",
	"oip":       "http://127.0.0.1:8001",
	"weir":      "https://weir.example.org:8443",
}

// grpcKinds are the kinds that are spoken to over gRPC.
var grpcKinds = []string{"gemini", "oip", "weir"}

// maxMediaTokens is beyond the context of every model.
const maxMediaTokens = 100_000_000

// check tells what is wrong with the backend, by field.
func (c BackendConfig) check() (field, problem string) {
	example, isServer := examples[c.Kind]
	if !isServer && c.Kind != "simulator" {
		return "kind", fmt.Sprintf("unknown kind %q: known are anthropic, gemini, oip, openai, simulator and weir", c.Kind)
	}
	if c.Provider != "" && !providerName.MatchString(c.Provider) {
		return "provider", fmt.Sprintf("%q is no name of a provider: write it as openai, or none where no provider's prices hold", c.Provider)
	}
	if c.CA != "" && !slices.Contains(grpcKinds, c.Kind) {
		return "ca", fmt.Sprintf("a backend of kind %s takes the CAs of this machine: leave it out", c.Kind)
	}
	if field, problem := c.checkDialect(); field != "" {
		return field, problem
	}
	if c.ServiceClass != "" && !slices.Contains(c.classes(), c.ServiceClass) {
		return "service_class", fmt.Sprintf("it cannot be asked for %q: a backend of kind openai and dialect openai or azure can for standard, flex, priority and scale, one of kind anthropic for standard", c.ServiceClass)
	}
	if c.Candidates > 1 && (c.Kind == "anthropic" || c.Kind == "oip") {
		return "candidates", "the API gives one answer a call: leave it out"
	}
	for _, m := range slices.Sorted(maps.Keys(c.Media)) {
		switch {
		case !slices.Contains(backend.Modalities(), m):
			return "media", fmt.Sprintf("unknown kind of media %q: known are audio, file, image and video", m)
		case c.Media[m] < 1 || c.Media[m] > maxMediaTokens:
			return "media", fmt.Sprintf("%s has %d tokens at the most: write a number from 1 to %d", m, c.Media[m], maxMediaTokens)
		case c.Kind == "anthropic" && m != backend.Image && m != backend.File:
			return "media", "the API takes image and file: leave the others out"
		}
	}
	if len(c.Media) > 0 && c.Kind == "oip" {
		return "media", "the protocol has no chats with media: leave it out"
	}
	if len(c.Media) > 0 && !isServer {
		return "media", "a simulator takes all media: leave it out"
	}
	if c.MediaURLs && len(c.Media) == 0 {
		return "media_urls", "the backend takes no media: say what it takes under media"
	}
	if field, problem := c.checkMediaOutput(); field != "" {
		return field, problem
	}
	if u, err := url.Parse(c.URL); isServer && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return "url", fmt.Sprintf("%q is no URL of a server: write it as %s", c.URL, example)
	}
	if c.Kind == "simulator" && (c.KeyFile != "" || len(c.KeyCommand) > 0) {
		return "key_file", "a simulator wants no key: leave it out"
	}
	if field, problem := c.checkKey(); field != "" {
		return field, problem
	}
	if field, problem := c.OIP.check(c.Kind); field != "" {
		return field, problem
	}
	if field, problem := c.Load.check(c.Kind); field != "" {
		return "load." + field, problem
	}
	return "", ""
}

// mediaOutputs are the kinds of media that a kind of backend can answer with.
var mediaOutputs = map[string][]backend.Modality{
	"openai": {backend.Image, backend.Audio}, "gemini": {backend.Image}, "weir": backend.Modalities(),
}

// checkMediaOutput tells what is wrong with what its models are said to answer with.
func (c BackendConfig) checkMediaOutput() (field, problem string) {
	for _, m := range slices.Sorted(maps.Keys(c.MediaOutput)) {
		switch {
		case c.Kind == "simulator":
			return "media_output", "a simulator draws images: leave it out"
		case !slices.Contains(mediaOutputs[c.Kind], m):
			return "media_output", fmt.Sprintf("a backend of kind %s has no answers in %s: known are openai (image, audio), gemini (image) and weir (all)", c.Kind, m)
		case c.MediaOutput[m] < 1 || c.MediaOutput[m] > maxMediaTokens:
			return "media_output", fmt.Sprintf("%s has %d tokens at the most: write a number from 1 to %d", m, c.MediaOutput[m], maxMediaTokens)
		}
	}
	return "", ""
}

// checkDialect tells what is wrong with what the server is said to be.
func (c BackendConfig) checkDialect() (field, problem string) {
	switch {
	case c.Kind != "openai" && c.Dialect != "":
		return "dialect", fmt.Sprintf("a backend of kind %s has none: leave it out", c.Kind)
	case c.Dialect != "" && !slices.Contains(openai.Dialects(), c.Dialect):
		return "dialect", fmt.Sprintf("unknown dialect %q: known are %s; leave it out for another server", c.Dialect, strings.Join(openai.Dialects(), ", "))
	case c.Dialect != "azure" && c.APIVersion != "":
		return "api_version", "it is for dialect azure alone: leave it out"
	}
	return "", ""
}

// classes are the classes of service that the server can be asked for.
func (c BackendConfig) classes() []accounting.ServiceClass {
	switch c.Kind {
	case "openai":
		return openai.Classes(c.Dialect)
	case "anthropic":
		return []accounting.ServiceClass{accounting.ServiceStandard}
	}
	return nil
}

// open makes the driver. This is the only place that knows which drivers there
// are. Embedding are its models that give embeddings.
func (c BackendConfig) open(embedding []string) (backend.Backend, error) {
	key, err := c.source()
	if err != nil {
		return nil, fmt.Errorf("backend %q: %w", c.Name, err)
	}
	switch c.Kind {
	case "openai":
		return openai.New(openai.Config{Name: c.Name, Dialect: c.Dialect, APIVersion: c.APIVersion, URL: c.URL, Key: c.Key, Media: c.Media, MediaURLs: c.MediaURLs, MediaOutput: c.MediaOutput, KeyFrom: key, Candidates: c.Candidates, LoadReports: c.Load.ORCA, Embedding: embedding, ServiceClass: c.ServiceClass})
	case "anthropic":
		return anthropic.New(anthropic.Config{Name: c.Name, URL: c.URL, Key: c.Key, Media: c.Media, MediaURLs: c.MediaURLs, KeyFrom: key, ServiceClass: c.ServiceClass})
	case "gemini":
		roots, err := c.roots()
		if err != nil {
			return nil, err
		}
		return gemini.New(gemini.Config{Name: c.Name, URL: c.URL, Key: c.Key, KeyFrom: key, RootCAs: roots, Media: c.Media, MediaURLs: c.MediaURLs, MediaOutput: c.MediaOutput, Candidates: c.Candidates, Embedding: embedding})
	case "oip":
		roots, err := c.roots()
		if err != nil {
			return nil, err
		}
		return oip.New(oip.Config{Name: c.Name, URL: c.URL, Key: c.Key, KeyFrom: key, RootCAs: roots, Embedding: embedding,
			Template: c.OIP.Template, Streaming: c.OIP.Streaming, Prompt: c.OIP.Prompt, Text: c.OIP.Text, Vector: c.OIP.Vector})
	case "weir":
		roots, err := c.roots()
		if err != nil {
			return nil, err
		}
		return backendweir.New(backendweir.Config{Name: c.Name, URL: c.URL, Key: c.Key, KeyFrom: key, RootCAs: roots, Media: c.Media, MediaURLs: c.MediaURLs, MediaOutput: c.MediaOutput, Candidates: c.Candidates, Embedding: embedding})
	}
	return simulator.New(simulator.Config{})
}

// roots are the CAs that vouch for the server, nil for those of this machine.
func (c BackendConfig) roots() (*x509.CertPool, error) {
	if c.CA == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("backend %q: cannot read the CAs: %w", c.Name, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("backend %q: %s holds no certificate in PEM: give the file of the CA that signed the server's certificate", c.Name, c.CA)
	}
	return roots, nil
}

// edition is another number where anything of the backend is different.
func (c BackendConfig) edition() uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%q", []any{c.Kind, c.Dialect, c.APIVersion, c.URL, c.Key, c.KeyFile, c.KeyCommand, c.CA, c.Tags, c.Candidates, c.Media, c.MediaURLs, c.MediaOutput, c.ServiceClass, c.OIP})
	return h.Sum64()
}
