package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/policy/guard"
	"github.com/weir-gateway/weir/policy/remote"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/credential"
	"github.com/weir-gateway/weir/server/gateway"
)

// GuardConfig is a service outside that judges text.
type GuardConfig struct {
	// Name is what rules call it by (guard: remote, service: NAME).
	Name string `yaml:"name"`
	// Kind is moderation: a server that has OpenAI's POST /moderations.
	Kind string `yaml:"kind"`
	// URL is where it is, up to and with /v1. What it is sent is what callers and
	// models say, so it must be https unless it is on this machine.
	URL       string `yaml:"url"`
	KeyConfig `yaml:",inline"`
}

// A service is a guard service as it is asked.
type service struct {
	GuardConfig
	key credential.Key // nil where Key holds
}

// check tells what is wrong with the service, by field.
func (c GuardConfig) check() (field, problem string) {
	if c.Name == "" {
		return "name", "missing: give the service a name for rules to use"
	}
	if c.Kind != "moderation" {
		return "kind", fmt.Sprintf("unknown kind %q: known is moderation", c.Kind)
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
		return "url", "no URL of a service that may be told what callers say: write it as https://api.openai.com/v1, or as http:// on this machine; a secret belongs in key"
	}
	return c.checkKey()
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// guards are all guards that there are. What a rule that asks somebody refers
// to is not looked up here: a policy must not keep Weir from starting because a
// model has left weir.yaml. Such a rule has no judge then, and says itself what
// holds without one.
func guards() map[string]policy.Factory {
	all := maps.Clone(guard.All())
	all["remote"] = remote.Config{Local: guard.All()}.Factory()
	return all
}

// judges ask what remote rules have to ask: a model through the gateway itself,
// or a service.
type judges struct {
	gateway  *gateway.Gateway
	judge    *remote.Judge
	services atomic.Pointer[map[string]service]
	client   *http.Client
}

func newJudges() *judges {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 4 * policy.InFlight
	return &judges{
		judge: &remote.Judge{Now: time.Now},
		client: &http.Client{
			Transport: transport,
			// What a caller said goes where it was configured to go and nowhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// services are those of a configuration.
func services(configs []GuardConfig) (map[string]service, error) {
	all := map[string]service{}
	for _, c := range configs {
		key, err := c.source()
		if err != nil {
			return nil, fmt.Errorf("guard service %q: %w", c.Name, err)
		}
		all[c.Name] = service{c, key}
	}
	return all, nil
}

func (j *judges) ask(ctx context.Context, parent *gateway.Call, q policy.Question) policy.Judgement {
	return j.judge.Ask(ctx, q, remote.Clients{
		Model: func(ctx context.Context, model string, messages []remote.Message, most int) (string, error) {
			return j.model(ctx, parent, model, messages, most)
		},
		Moderate: j.moderate,
	})
}

// model asks a model by an inner call, which the caller of the parent pays.
func (j *judges) model(ctx context.Context, parent *gateway.Call, model string, messages []remote.Message, most int) (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	var still float64
	call := &gateway.Call{
		RequestID: id.String(), ParentRequestID: parent.RequestID, Purpose: "guard",
		Caller: parent.Caller, Labels: parent.Labels, EndUser: parent.EndUser, Session: parent.Session,
		Model: model, Request: backend.Request{Temperature: &still, MaxOutputTokens: &most},
	}
	for _, m := range messages {
		call.Request.Messages = append(call.Request.Messages, backend.Message{
			Role: backend.Role(m.Role), Parts: []backend.Part{{Channel: backend.Content, Text: m.Text}},
		})
	}
	var said gateway.Collector
	if _, err := j.gateway.Generate(ctx, call, &said); err != nil {
		var e *gateway.Error
		if errors.As(err, &e) {
			switch e.Reason {
			case gateway.BudgetExhausted, gateway.UnpricedModel, gateway.AccountingUnavailable, gateway.InputBlocked,
				gateway.ContextLengthExceeded, gateway.Cancelled:
				return "", remote.Blameless(err) // another caller's question may well be answered
			}
		}
		return "", fmt.Errorf("ask model %q: %s", model, gateway.Logged(err))
	}
	if all := said.Candidates(); len(all) > 0 {
		return all[0].Content, nil
	}
	return "", nil
}

// maxModeration bounds the answer of a moderation service.
const maxModeration = 1 << 20

func (j *judges) moderate(ctx context.Context, name string, body []byte) ([]byte, error) {
	s, ok := (*j.services.Load())[name]
	if !ok {
		return nil, remote.Blameless(fmt.Errorf("there is no guard service %q: add it under guards in weir.yaml", name))
	}
	text, err := s.moderate(ctx, j.client, body)
	if err != nil {
		return nil, fmt.Errorf("ask guard service %q: %w", name, err)
	}
	return text, nil
}

// moderate asks the service, and where it refuses the key and there is a newer one
// once more.
func (s service) moderate(ctx context.Context, client *http.Client, body []byte) ([]byte, error) {
	if s.key == nil {
		text, _, err := s.post(ctx, client, s.Key, body)
		return text, err
	}
	key, err := s.key(ctx, "")
	if err != nil {
		return nil, err
	}
	text, status, err := s.post(ctx, client, key, body)
	if status != http.StatusUnauthorized {
		return text, err
	}
	if newer, failed := s.key(ctx, key); failed != nil {
		return nil, failed
	} else if newer != key {
		text, _, err = s.post(ctx, client, newer, body)
	}
	return text, err
}

// post sends one question. The status is 0 where there was no answer.
func (s service) post(ctx context.Context, client *http.Client, key string, body []byte) (text []byte, status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(s.URL, "/")+"/moderations", bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxModeration)) // the connection can serve again
		// Its words can repeat the text or the key.
		return nil, answer.StatusCode, fmt.Errorf("it answers with status %d", answer.StatusCode)
	}
	text, err = io.ReadAll(io.LimitReader(answer.Body, maxModeration))
	return text, answer.StatusCode, err
}

// close gives back idle connections.
func (j *judges) close() { j.client.CloseIdleConnections() }
