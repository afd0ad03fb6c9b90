package guard

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weir-gateway/weir/policy"
)

// Secrets makes a guard that finds credentials by the forms that their issuers
// give them. Its keys:
//
//	kinds: [github_token, private_key]  # all where absent
//	except: [jwt]                       # all but these
//	allow: [AKIAIOSFODNN7EXAMPLE]       # what is no secret, as it is written
//
// A finding's category is secret/KIND. Of an assignment (password = …) the
// value is found and the name left; it must look as if chance had made it. A
// private key is found from its first line on, to its last line or the end of
// the text.
func Secrets(rule *yaml.Node, env policy.Env) (policy.Guard, error) {
	var raw struct {
		Kinds  []string `yaml:"kinds"`
		Except []string `yaml:"except"`
		Allow  []string `yaml:"allow"`
	}
	if err := policy.Decode(rule, &raw); err != nil {
		return nil, err
	}
	known := secretKinds()
	for field, names := range map[string][]string{"kinds": raw.Kinds, "except": raw.Except} {
		for i, name := range names {
			if !slices.Contains(known, name) {
				return nil, policy.Fault(rule, fmt.Sprintf("%s[%d]", field, i), "unknown kind %q (known: %s)", name, strings.Join(known, ", "))
			}
		}
	}
	wanted := func(name string) bool {
		return (raw.Kinds == nil || slices.Contains(raw.Kinds, name)) && !slices.Contains(raw.Except, name)
	}
	if !slices.ContainsFunc(known, wanted) {
		return nil, policy.Fault(rule, "kinds", "leave nothing to look for: name some of %s", strings.Join(known, ", "))
	}
	slices.Sort(raw.Kinds)
	slices.Sort(raw.Except)
	slices.Sort(raw.Allow)
	return env.Share(fmt.Sprintf("%q %q %q", raw.Kinds, raw.Except, raw.Allow), func() (policy.Guard, error) {
		var parts []policy.Guard
		for _, name := range slices.Sorted(maps.Keys(secretRuns)) {
			if !wanted(name) {
				continue
			}
			p := &pattern{category: "secret/" + name, severity: policy.High}
			if err := p.compile(secretRuns[name].expr, secretRuns[name].limit); err != nil {
				return nil, fmt.Errorf("secret %s: %w", name, err)
			}
			parts = append(parts, p)
		}
		var specs []entity
		for _, s := range secretForms {
			if !wanted(s.name) {
				continue
			}
			e := entity{
				kind: policy.Kind{Category: "secret/" + s.name, Severity: policy.High}, expr: s.expr,
				notAfter: besideToken, notBefore: besideToken, score: sure, contextScore: sure, part: s.part,
			}
			if s.loose {
				e.notAfter, e.notBefore = 0, 0
			}
			e.valid = func(match string) bool {
				value := match
				if s.part != nil {
					from, to := s.part(match)
					value = match[from:to]
				}
				return !slices.Contains(raw.Allow, value) && !isExample(value) && (s.valid == nil || s.valid(value))
			}
			specs = append(specs, e)
		}
		if len(specs) > 0 {
			e, err := newEntities(specs, slices.Repeat([]float64{defaultAt}, len(specs)))
			if err != nil {
				return nil, err
			}
			parts = append(parts, e)
		}
		return newUnion(parts...), nil
	})
}

func secretKinds() []string {
	names := slices.Collect(maps.Keys(secretRuns))
	for _, s := range secretForms {
		names = append(names, s.name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

const besideToken = digit | letter | underline

// secretRuns are the forms without a longest match. The body of a private key
// has no five dashes (RFC 7468), so it ends with the line that says so.
var secretRuns = map[string]runForm{
	"private_key": {`-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-{1,4}[^-])*-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----`, 96},
	// RFC 7519: two JSON objects in base64url, both of which begin with {" .
	"jwt": {`eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}`, 2048},
}

// secretForm is one way in which a kind of secret is written.
type secretForm struct {
	name  string
	expr  string
	valid func(value string) bool
	part  func(match string) (from, to int)
	loose bool // it may stand beside letters
}

const hex, word, text64 = `[0-9a-f]`, `[0-9A-Za-z]`, `[0-9A-Za-z_-]`

// secretForms are the forms that issuers document, or show in the keys that they
// give out; the fixed prefix is what they are told by.
var secretForms = []secretForm{
	// Clouds.
	{name: "aws_access_key", expr: `(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}`},
	{name: "aws_secret_key", expr: `(?i:aws.{0,10}secret.{0,10}key)["']?\s{0,2}[:=]\s{0,2}["']?[A-Za-z0-9/+]{40}`, part: afterAssignment, loose: true, valid: isRandom},
	{name: "gcp_api_key", expr: `AIza` + text64 + `{35}`},
	{name: "gcp_oauth_token", expr: `ya29\.` + text64 + `{20,200}`},
	{name: "gcp_oauth_secret", expr: `GOCSPX-` + text64 + `{28}`},
	{name: "azure_storage_key", expr: `(?i:AccountKey)=[A-Za-z0-9+/]{86}==`, part: afterAssignment, loose: true},
	{name: "azure_sas", expr: `[?&]sig=[A-Za-z0-9%+/]{40,70}(?:%3[Dd]|=)`, part: afterAssignment, loose: true},
	{name: "digitalocean_token", expr: `do[opr]_v1_` + hex + `{64}`},
	{name: "heroku_key", expr: `HRKU-` + text64 + `{58,62}`},
	{name: "flyio_token", expr: `fo1_` + text64 + `{43}`},
	{name: "netlify_token", expr: `nfp_[0-9A-Za-z_]{36}`},
	{name: "supabase_token", expr: `sbp_` + hex + `{40}`},
	{name: "planetscale_token", expr: `pscale_(?:tkn|pw|oauth)_[0-9A-Za-z_.-]{32,64}`},
	{name: "databricks_token", expr: `dapi` + hex + `{32}(?:-\d)?`},
	{name: "cloudflare_origin_key", expr: `v1\.0-` + hex + `{24}-` + hex + `{146}`},
	{name: "tencent_secret_id", expr: `AKID` + word + `{32}`},
	{name: "alibaba_access_key", expr: `LTAI` + word + `{12,20}`},
	{name: "volcengine_access_key", expr: `AKLT` + text64 + `{40,60}`},
	{name: "baidu_api_key", expr: `bce-v3/ALTAK-` + word + `{21}/` + hex + `{40}`},

	// Code hosts and packages.
	{name: "github_token", expr: `gh[pousr]_` + word + `{36}`},
	{name: "github_fine_grained_token", expr: `github_pat_` + word + `{22}_` + word + `{59}`},
	{name: "gitlab_token", expr: `glpat-` + text64 + `{20,50}`},
	{name: "gitlab_runner_token", expr: `glrt-` + text64 + `{20,50}`},
	{name: "gitlab_deploy_token", expr: `gldt-` + text64 + `{20,50}`},
	{name: "gitlab_trigger_token", expr: `glptt-` + hex + `{40}`},
	{name: "bitbucket_password", expr: `ATBB[0-9A-Za-z_=-]{28,32}`},
	{name: "npm_token", expr: `npm_` + word + `{36}`},
	{name: "pypi_token", expr: `pypi-AgEI` + text64 + `{50,200}`},
	{name: "rubygems_key", expr: `rubygems_` + hex + `{48}`},
	{name: "crates_token", expr: `cio` + word + `{32}`, valid: isRandom},
	{name: "nuget_key", expr: `oy2[0-9a-z]{43}`},
	{name: "docker_token", expr: `dckr_(?:pat|oat)_` + text64 + `{27,32}`},

	// Models.
	{name: "openai_key", expr: `sk-(?:proj|svcacct|admin)-` + text64 + `{40,200}`},
	{name: "openai_key", expr: `sk-` + word + `{20}T3BlbkFJ` + word + `{20}`},
	{name: "anthropic_key", expr: `sk-ant-(?:api|admin|oat)\d{2}-` + text64 + `{80,120}`},
	{name: "openrouter_key", expr: `sk-or-v1-` + hex + `{64}`},
	{name: "model_api_key", expr: `sk-` + word + `{32,64}`, valid: isRandom}, // DeepSeek, DashScope, Moonshot and others
	{name: "huggingface_token", expr: `hf_` + word + `{30,40}`},
	{name: "replicate_token", expr: `r8_` + word + `{37}`},
	{name: "groq_key", expr: `gsk_` + word + `{48,56}`},
	{name: "xai_key", expr: `xai-` + word + `{70,90}`},
	{name: "perplexity_key", expr: `pplx-` + word + `{40,56}`},
	{name: "langsmith_key", expr: `lsv2_(?:pt|sk)_` + hex + `{32}_` + hex + `{10}`},
	{name: "langfuse_key", expr: `sk-lf-` + hex + `{8}(?:-` + hex + `{4}){3}-` + hex + `{12}`},
	{name: "fireworks_key", expr: `fw_` + word + `{22,24}`, valid: isRandom},
	{name: "tavily_key", expr: `tvly-` + text64 + `{28,48}`},
	{name: "weir_key", expr: `weir_` + text64 + `{43}`},

	// Messages.
	{name: "slack_token", expr: `xox[abeprs]-[0-9A-Za-z-]{10,150}`},
	{name: "slack_app_token", expr: `xapp-\d-[A-Z0-9]{8,12}-\d{10,14}-` + hex + `{60,70}`},
	{name: "slack_webhook", expr: `hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_+-]{40,70}`},
	{name: "discord_webhook", expr: `discord(?:app)?\.com/api/webhooks/\d{17,20}/` + text64 + `{60,80}`},
	{name: "teams_webhook", expr: `webhook\.office\.com/webhookb2/[A-Za-z0-9@/-]{80,200}`},
	{name: "telegram_token", expr: `\d{8,10}:AA` + text64 + `{33}`},
	{name: "feishu_webhook", expr: `open\.(?:feishu\.cn|larksuite\.com)/open-apis/bot/v2/hook/[0-9a-f-]{36}`},
	{name: "dingtalk_webhook", expr: `oapi\.dingtalk\.com/robot/send\?access_token=` + hex + `{64}`},
	{name: "wecom_webhook", expr: `qyapi\.weixin\.qq\.com/cgi-bin/webhook/send\?key=[0-9a-f-]{36}`},
	{name: "sendgrid_key", expr: `SG\.` + text64 + `{22}\.` + text64 + `{43}`},
	{name: "mailgun_key", expr: `key-` + hex + `{32}`},
	{name: "mailchimp_key", expr: hex + `{32}-us\d{1,2}`},
	{name: "brevo_key", expr: `xkeysib-` + hex + `{64}-` + word + `{16}`},
	{name: "twilio_key", expr: `(?:AC|SK)` + hex + `{32}`},

	// Money and shops.
	{name: "stripe_key", expr: `(?:sk|rk)_(?:live|test)_` + word + `{24,99}`},
	{name: "stripe_webhook_secret", expr: `whsec_[0-9A-Za-z+/]{32,64}`},
	{name: "square_token", expr: `sq0atp-` + text64 + `{22}|sq0csp-` + text64 + `{43}|EAAA` + text64 + `{60}`},
	{name: "braintree_token", expr: `access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$` + hex + `{32}`},
	{name: "shopify_token", expr: `shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}`},

	// Work and watch.
	{name: "vault_token", expr: `hv[sbr]\.` + text64 + `{24,200}`},
	{name: "doppler_token", expr: `dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[0-9a-z_-]{2,35}\.)?` + word + `{40,44}`},
	{name: "pulumi_token", expr: `pul-` + hex + `{40}`},
	{name: "grafana_token", expr: `glsa_` + word + `{32}_` + hex + `{8}|glc_[0-9A-Za-z+/]{32,200}={0,2}`},
	{name: "newrelic_key", expr: `NRAK-[0-9A-Z]{27}`},
	{name: "sentry_token", expr: `sntry[su]_[0-9A-Za-z+/=_-]{40,200}`},
	{name: "linear_key", expr: `lin_api_` + word + `{40}`},
	{name: "notion_token", expr: `ntn_` + word + `{46}|secret_` + word + `{43}`},
	{name: "airtable_token", expr: `pat` + word + `{14}\.` + hex + `{64}`},
	{name: "atlassian_token", expr: `ATATT3[0-9A-Za-z_=-]{150,220}`},
	{name: "figma_token", expr: `figd_` + text64 + `{40}`},
	{name: "postman_key", expr: `PMAK-` + hex + `{24}-` + hex + `{34}`},
	{name: "dropbox_token", expr: `sl\.` + text64 + `{130,150}`},
	{name: "age_key", expr: `AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}`},

	// Whatever it is for.
	{name: "url_password", expr: `://[^\s:/@"']{0,64}:[^\s/@"']{3,128}@`, part: passwordOfURL, loose: true, valid: isNoPlaceholder},
	{name: "basic_auth", expr: `(?i:authorization)["']?: ?["']?(?i:basic) [A-Za-z0-9+/]{8,200}={0,2}`, part: lastWord, loose: true},
	{name: "bearer_token", expr: `(?i:bearer) [A-Za-z0-9._~+/-]{20,400}={0,2}`, part: lastWord, loose: true, valid: isRandom},
	{name: "assigned_secret", expr: "(?i:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|auth[_-]?key|credential|密码|口令|密钥)[\"']?(?:\\s?(?:[:=：]|=>|:=|是|为)\\s?)[\"'`]?[^\\s\"'`,;<>(){}，。；]{8,100}", part: afterAssignment, loose: true, valid: isRandom},
}

// afterAssignment is the value of name = "value".
func afterAssignment(match string) (from, to int) {
	for _, mark := range []string{"=>", ":=", "=", ":", "：", "是", "为"} {
		if i := strings.Index(match, mark); i >= 0 {
			from = i + len(mark)
			break
		}
	}
	for from < len(match) && strings.IndexByte(" \t\r\n\"'`", match[from]) >= 0 {
		from++
	}
	return from, len(match)
}

func lastWord(match string) (from, to int) { return strings.LastIndexByte(match, ' ') + 1, len(match) }

func passwordOfURL(match string) (from, to int) {
	return strings.IndexByte(match[3:], ':') + 4, len(match) - 1
}

// isRandom tells whether chance seems to have made a value: letters and digits,
// and at least three bits of entropy a character (Shannon, over the value's own
// characters; English words have about as much and no digits).
func isRandom(value string) bool {
	if !isNoPlaceholder(value) {
		return false
	}
	var count [256]int
	digits, letters := 0, 0
	for i := range len(value) {
		count[value[i]]++
		switch b := value[i]; {
		case b >= '0' && b <= '9':
			digits++
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z':
			letters++
		}
	}
	bits := 0.0
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(value))
			bits -= p * math.Log2(p)
		}
	}
	return digits > 0 && letters > 0 && bits >= min(3, math.Log2(float64(len(value)))-0.5)
}

// isNoPlaceholder leaves out what stands in for a secret: ${VAR}, <key>, %s,
// xxxx, and words that say so.
func isNoPlaceholder(value string) bool {
	if strings.HasPrefix(value, "$") || strings.HasPrefix(value, "%") || strings.HasPrefix(value, "<") || strings.Contains(value, "{{") {
		return false
	}
	return !isExample(value)
}

// isExample tells whether a value says of itself that it is none, or repeats
// one character.
func isExample(value string) bool {
	low := strings.ToLower(value)
	for _, word := range []string{"example", "changeme", "change_me", "placeholder", "your_", "your-", "yourkey", "dummy", "redacted", "xxxxxx", "000000000", "123456789", "......", "******"} {
		if strings.Contains(low, word) {
			return true
		}
	}
	return len(value) > 0 && strings.Trim(value, value[:1]) == ""
}
