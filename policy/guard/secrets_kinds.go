package guard

// The forms of tokens. Each is what its issuer documents, or what the tokens
// that the issuer gives out look like: a prefix, an alphabet, a length. Where a
// length is known to vary, or to have varied, the form says from which on.

const (
	b64u = `[A-Za-z0-9_-]`
	b62  = `[A-Za-z0-9]`
	hexd = `[0-9a-f]`
	uuid = `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`
)

// tokens are rules of one kind that differ in their form only.
func tokens(kind string, forms ...string) (rules []secretRule) {
	for _, form := range forms {
		rules = append(rules, secretRule{kind: kind, form: form, notAfter: besideWord, notBefore: besideWord})
	}
	return rules
}

// that sets what is special of some rules.
func that(rules []secretRule, set func(*secretRule)) []secretRule {
	for i := range rules {
		set(&rules[i])
	}
	return rules
}

// anywhere: the prefix is long or rare enough to be one inside a word, too.
func anywhere(r *secretRule) { r.notAfter = 0 }

func random(r *secretRule) { r.valid = isRandom }

// secretRules are all rules, those that say most of what they find first.
func secretRules() (all []secretRule) {
	for _, group := range [][]secretRule{
		cloudTokens(), codeTokens(), modelTokens(), messageTokens(), moneyTokens(), mailTokens(), serviceTokens(),
		{{kind: "jwt", reader: jwtReader, notAfter: digit | letter}, {kind: "private_key", reader: pemReader}},
		namedSecrets(),
		// Of DeepSeek, DashScope, Moonshot, SiliconFlow and many others.
		that(tokens("model_api_key", `sk-`+b62+`{32,64}`), random),
		{{kind: "url_password", reader: urlReader, valid: func(s string) bool { return len(s) >= 3 && !isStandIn(s) }}},
		headerTokens(), assignedSecrets(),
	} {
		all = append(all, group...)
	}
	return all
}

func cloudTokens() (r []secretRule) {
	// AWS, IAM identifiers: the prefix says what the key is of; base 32.
	r = append(r, tokens("aws_access_key", `AKIA[A-Z2-7]{16}`, `ASIA[A-Z2-7]{16}`, `ABIA[A-Z2-7]{16}`, `ACCA[A-Z2-7]{16}`)...)
	r = append(r, tokens("aws_bedrock_key", `ABSKQmVkcm9ja0FQSUtleS[A-Za-z0-9+/=]{80,}`, `bedrock-api-key-[A-Za-z0-9+/=]{100,}`)...)
	// Google Cloud: API keys, OAuth client secrets and access tokens.
	r = append(r, tokens("gcp_api_key", `AIza`+b64u+`{35}`)...)
	r = append(r, tokens("gcp_oauth_secret", `GOCSPX-`+b64u+`{28}`)...)
	r = append(r, tokens("gcp_oauth_token", `ya29\.`+b64u+`{30,}`)...)
	// Azure: the signature of a shared access signature; a client secret, which
	// has a digit and Q~ behind its first three characters.
	r = append(r, that(tokens("azure_sas", `&sig=([A-Za-z0-9%+/]{43,90}={0,2})`, `\?sig=([A-Za-z0-9%+/]{43,90}={0,2})`), anywhere)...)
	r = append(r, that(tokens("azure_client_secret", `Q~([A-Za-z0-9_~.-]{31,34})`), func(s *secretRule) { s.notAfter = ^digit })...)
	r = append(r, tokens("digitalocean_token", `dop_v1_`+hexd+`{64}`, `doo_v1_`+hexd+`{64}`, `dor_v1_`+hexd+`{64}`)...)
	r = append(r, tokens("heroku_key", `HRKU-`+b64u+`{58,62}`)...)
	r = append(r, tokens("flyio_token", `fo1_`+b64u+`{43}`, `fm2_[A-Za-z0-9+/=]{100,}`, `fm1r_[A-Za-z0-9+/=]{100,}`, `fm1a_[A-Za-z0-9+/=]{100,}`)...)
	r = append(r, tokens("netlify_token", `nfp_`+b62+`{36,40}`)...)
	r = append(r, tokens("supabase_token", `sbp_`+hexd+`{40}`, `sb_secret_`+b64u+`{22,40}`)...)
	r = append(r, tokens("planetscale_token", `pscale_tkn_[\w=.-]{32,64}`, `pscale_pw_[\w=.-]{32,64}`, `pscale_oauth_[\w=.-]{32,64}`)...)
	r = append(r, tokens("databricks_token", `dapi`+hexd+`{32}`, `dapi`+hexd+`{32}-[0-9]`)...)
	r = append(r, tokens("cloudflare_origin_key", `v1\.0-`+hexd+`{24}-`+hexd+`{146}`)...)
	r = append(r, tokens("scaleway_key", `SCW[A-Z0-9]{17}`)...)
	r = append(r, tokens("linode_token", `lke-`+hexd+`{64}`)...)
	r = append(r, tokens("yandex_key", `AQVN`+b64u+`{35,38}`, `YCAJE`+b64u+`{20}`, `YCN`+b64u+`{37}`, `t1\.[A-Z0-9a-z_-]{80,}`)...)
	// China: Tencent Cloud, Alibaba Cloud, Volcano Engine, Baidu.
	r = append(r, tokens("tencent_secret_id", `AKID`+b62+`{32}`)...)
	r = append(r, tokens("alibaba_access_key", `LTAI`+b62+`{12,20}`, `STS\.N`+b62+`{20,40}`)...)
	r = append(r, tokens("volcengine_access_key", `AKLT`+b64u+`{40,60}`)...)
	r = append(r, tokens("baidu_api_key", `bce-v3/ALTAK-`+b62+`{21}/`+hexd+`{40}`)...)
	return r
}

func codeTokens() (r []secretRule) {
	// GitHub: tokens with a checksum are ones wherever they stand, even where
	// text runs on behind them.
	crc := func(s *secretRule) { s.notAfter, s.notBefore, s.checked, s.valid = 0, 0, true, hasCRC }
	r = append(r, that(tokens("github_token", `ghp_`+b62+`{36}`), crc)...)
	r = append(r, that(tokens("github_token", `gho_`+b62+`{36}`), crc)...)
	r = append(r, that(tokens("github_token", `ghu_`+b62+`{36}`, `ghs_`+b62+`{36}`), crc)...)
	r = append(r, that(tokens("github_token", `ghr_`+b62+`{36}`, `ghr_`+b62+`{76}`), crc)...)
	r = append(r, that(tokens("github_fine_grained_token", `github_pat_`+b62+`{22}_`+b62+`{59}`), anywhere)...)
	// GitLab: the prefixes of its manual; tokens got longer and routable (with
	// dots) over time.
	for _, t := range []struct{ kind, prefix string }{
		{"gitlab_token", "glpat"}, {"gitlab_oauth_secret", "gloas"}, {"gitlab_deploy_token", "gldt"}, {"gitlab_runner_token", "glrt"},
		{"gitlab_runner_token", "glrtr"}, {"gitlab_job_token", "glcbt"}, {"gitlab_trigger_token", "glptt"}, {"gitlab_feed_token", "glft"},
		{"gitlab_mail_token", "glimt"}, {"gitlab_agent_token", "glagent"}, {"gitlab_scim_token", "glsoat"}, {"gitlab_flags_token", "glffct"},
	} {
		r = append(r, that(tokens(t.kind, t.prefix+`-[A-Za-z0-9_.-]{20,}`), anywhere)...)
	}
	r = append(r, tokens("bitbucket_password", `ATBB[A-Za-z0-9_=-]{28,40}`, `ATCTT3x[A-Za-z0-9_=-]{100,}`)...)
	r = append(r, tokens("atlassian_token", `ATATT3x[A-Za-z0-9_=-]{100,}`)...)
	r = append(r, tokens("npm_token", `npm_`+b62+`{36}`)...)
	r = append(r, tokens("pypi_token", `pypi-AgE`+b64u+`{60,}`)...)
	r = append(r, tokens("rubygems_key", `rubygems_`+hexd+`{48}`)...)
	r = append(r, that(tokens("crates_token", `cio`+b62+`{32}`), random)...)
	r = append(r, that(tokens("nuget_key", `oy2[a-z0-9]{43}`), random)...)
	r = append(r, tokens("clojars_token", `CLOJARS_[a-z0-9]{60}`)...)
	r = append(r, tokens("docker_token", `dckr_pat_`+b64u+`{27}`, `dckr_oat_`+b64u+`{32}`)...)
	r = append(r, that(tokens("artifactory_key", `AKCp`+b62+`{69}`, `cmVmdGtu`+b62+`{56}`), random)...)
	r = append(r, tokens("sonar_token", `sqp_`+hexd+`{40}`, `squ_`+hexd+`{40}`, `sqa_`+hexd+`{40}`)...)
	r = append(r, tokens("sourcegraph_token", `sgp_`+hexd+`{40}`, `sgp_[0-9a-z]{5,20}_`+hexd+`{40}`)...)
	r = append(r, tokens("buildkite_token", `bkua_`+hexd+`{40}`)...)
	r = append(r, tokens("circleci_token", `CCIPAT_`+b62+`{22}_`+hexd+`{40}`)...)
	r = append(r, tokens("octopus_key", `API-[A-Z0-9]{25,26}`)...)
	return r
}

func modelTokens() (r []secretRule) {
	// OpenAI; T3BlbkFJ in the older ones is its name in base 64.
	r = append(r, tokens("openai_key", `sk-proj-`+b64u+`{40,}`, `sk-svcacct-`+b64u+`{40,}`, `sk-admin-`+b64u+`{40,}`)...)
	r = append(r, tokens("openai_key", `sk-`+b62+`{20}T3BlbkFJ`+b62+`{20}`)...)
	r = append(r, tokens("anthropic_key", `sk-ant-[a-z]{3,8}[0-9]{2}-`+b64u+`{80,}`)...)
	r = append(r, tokens("openrouter_key", `sk-or-v1-`+hexd+`{64}`)...)
	r = append(r, tokens("langfuse_key", `sk-lf-`+uuid)...)
	r = append(r, tokens("huggingface_token", `hf_`+b62+`{34,40}`, `api_org_`+b62+`{34}`)...)
	r = append(r, tokens("replicate_token", `r8_`+b62+`{37}`)...)
	r = append(r, tokens("groq_key", `gsk_`+b62+`{52}`)...)
	r = append(r, tokens("xai_key", `xai-`+b62+`{70,84}`)...)
	r = append(r, tokens("perplexity_key", `pplx-`+b62+`{40,56}`)...)
	r = append(r, tokens("nvidia_key", `nvapi-`+b64u+`{60,70}`)...)
	r = append(r, tokens("cerebras_key", `csk-[a-z0-9]{48}`)...)
	r = append(r, tokens("together_key", `tgp_v1_`+b64u+`{43}`)...)
	r = append(r, that(tokens("fireworks_key", `fw_`+b62+`{22,24}`), random)...)
	r = append(r, tokens("langsmith_key", `lsv2_pt_`+hexd+`{32}_`+hexd+`{10}`, `lsv2_sk_`+hexd+`{32}_`+hexd+`{10}`)...)
	r = append(r, tokens("pinecone_key", `pcsk_[A-Za-z0-9]{5,8}_`+b62+`{60,70}`)...)
	r = append(r, tokens("elevenlabs_key", `sk_`+hexd+`{48}`)...)
	r = append(r, tokens("tavily_key", `tvly-[A-Za-z0-9-]{28,48}`)...)
	// Weir: 256 bits behind its prefix, package server/auth.
	r = append(r, that(tokens("weir_key", `weir_`+b64u+`{43}`), random)...)
	return r
}

func messageTokens() (r []secretRule) {
	r = append(r, tokens("slack_token", `xox[a-eo-s]-[A-Za-z0-9-]{20,}`, `xoxe\.xox[bp]-[0-9]-[A-Za-z0-9-]{20,}`)...)
	r = append(r, tokens("slack_app_token", `xapp-[0-9]-[A-Z0-9]{8,12}-[0-9]{10,14}-`+hexd+`{60,70}`)...)
	// Webhooks: whoever knows the URL can post.
	r = append(r, that(tokens("slack_webhook", `hooks\.slack\.com/services/([A-Za-z0-9/_+-]{40,80})`, `hooks\.slack\.com/workflows/([A-Za-z0-9/_+-]{40,80})`, `hooks\.slack\.com/triggers/([A-Za-z0-9/_+-]{40,80})`), anywhere)...)
	r = append(r, that(tokens("discord_webhook", `discord\.com/api/webhooks/[0-9]{17,20}/(`+b64u+`{60,80})`, `discordapp\.com/api/webhooks/[0-9]{17,20}/(`+b64u+`{60,80})`), anywhere)...)
	for _, begin := range []string{"MT", "Mj", "Mz", "ND", "NT", "Nj", "Nz", "OD", "OT"} { // of the digits of an id, in base 64
		r = append(r, that(tokens("discord_token", begin+b64u+`{21,26}\.`+b64u+`{6}\.`+b64u+`{27,45}`), func(s *secretRule) { s.valid = isDiscord })...)
	}
	r = append(r, that(tokens("telegram_token", `:(AA`+b64u+`{33})`), func(s *secretRule) { s.notAfter = ^digit })...) // behind a bot's id
	r = append(r, that(tokens("teams_webhook", `webhook\.office\.com/webhookb2/([A-Za-z0-9@/-]{100,220})`), anywhere)...)
	r = append(r, that(tokens("feishu_webhook", `feishu\.cn/open-apis/bot/v2/hook/(`+uuid+`)`, `larksuite\.com/open-apis/bot/v2/hook/(`+uuid+`)`), anywhere)...)
	r = append(r, that(tokens("dingtalk_webhook", `dingtalk\.com/robot/send\?access_token=(`+hexd+`{64})`), anywhere)...)
	r = append(r, that(tokens("dingtalk_sign_key", `SEC`+hexd+`{64}`), anywhere)...)
	r = append(r, that(tokens("wecom_webhook", `weixin\.qq\.com/cgi-bin/webhook/send\?key=(`+uuid+`)`), anywhere)...)
	return r
}

func moneyTokens() (r []secretRule) {
	r = append(r, tokens("stripe_key", `sk_live_`+b62+`{20,}`, `sk_test_`+b62+`{20,}`, `rk_live_`+b62+`{20,}`, `rk_test_`+b62+`{20,}`)...)
	r = append(r, tokens("stripe_webhook_secret", `whsec_[A-Za-z0-9+/=]{32,64}`)...)
	r = append(r, tokens("square_token", `sq0atp-`+b64u+`{22}`, `sq0csp-`+b64u+`{43}`, `EAAAE`+b64u+`{59}`, `EAAAl`+b64u+`{59}`)...)
	r = append(r, tokens("braintree_token", `access_token\$production\$[a-z0-9]{16}\$`+hexd+`{32}`, `access_token\$sandbox\$[a-z0-9]{16}\$`+hexd+`{32}`)...)
	r = append(r, tokens("shopify_token", `shpat_[0-9a-fA-F]{32}`, `shpca_[0-9a-fA-F]{32}`, `shppa_[0-9a-fA-F]{32}`, `shpss_[0-9a-fA-F]{32}`)...)
	r = append(r, tokens("flutterwave_key", `FLWSECK_TEST-[0-9a-h]{32}-X`, `FLWSECK-[0-9a-h]{32}-X`)...)
	r = append(r, tokens("razorpay_key", `rzp_live_`+b62+`{14}`, `rzp_test_`+b62+`{14}`)...)
	r = append(r, tokens("plaid_token", `access-production-`+uuid, `access-sandbox-`+uuid, `access-development-`+uuid)...)
	r = append(r, tokens("easypost_key", `EZAK`+b62+`{54}`, `EZTK`+b62+`{54}`)...)
	r = append(r, tokens("shippo_token", `shippo_live_`+hexd+`{40}`, `shippo_test_`+hexd+`{40}`)...)
	r = append(r, tokens("duffel_token", `duffel_live_`+b64u+`{43}`, `duffel_test_`+b64u+`{43}`)...)
	r = append(r, tokens("lob_key", `live_`+hexd+`{35}`, `test_`+hexd+`{35}`)...)
	return r
}

func mailTokens() (r []secretRule) {
	r = append(r, tokens("sendgrid_key", `SG\.`+b64u+`{22}\.`+b64u+`{43}`)...)
	r = append(r, tokens("mailgun_key", `key-`+hexd+`{32}`)...)
	r = append(r, that(tokens("mandrill_key", `md-`+b64u+`{22}`), random)...)
	r = append(r, tokens("brevo_key", `xkeysib-`+hexd+`{64}-`+b62+`{16}`, `xsmtpsib-`+hexd+`{64}-`+b62+`{16}`)...)
	r = append(r, that(tokens("resend_key", `re_`+b62+`{8}_`+b62+`{24}`), random)...)
	r = append(r, tokens("twilio_key", `SK`+hexd+`{32}`, `AC`+hexd+`{32}`)...)
	return r
}

func serviceTokens() (r []secretRule) {
	// Vault: service, batch and recovery tokens; the older s. has no other mark.
	r = append(r, tokens("vault_token", `hvs\.`+b64u+`{24,}`, `hvb\.`+b64u+`{100,}`, `hvr\.`+b64u+`{24,}`)...)
	r = append(r, that(tokens("vault_token", `s\.`+b62+`{24}`), func(s *secretRule) {
		s.notAfter |= dot | dash
		s.valid = func(v string) bool { m := mixOf(v[2:]); return m.kinds() == 3 && m.digits > 1 && isRandom(v[2:]) }
	})...)
	r = append(r, that(tokens("terraform_token", `\.atlasv1\.([A-Za-z0-9_=-]{60,70})`), anywhere)...)
	r = append(r, tokens("doppler_token", `dp\.pt\.`+b62+`{40,44}`, `dp\.ct\.`+b62+`{40,44}`, `dp\.sa\.`+b62+`{40,44}`, `dp\.scim\.`+b62+`{40,44}`, `dp\.audit\.`+b62+`{40,44}`, `dp\.st\.[a-z0-9_-]{2,35}\.`+b62+`{40,44}`)...)
	r = append(r, tokens("pulumi_token", `pul-`+hexd+`{40}`)...)
	r = append(r, tokens("grafana_token", `glsa_`+b62+`{32}_[0-9A-Fa-f]{8}`, `glc_[A-Za-z0-9+/=]{32,}`)...)
	r = append(r, tokens("newrelic_key", `NRAK-[A-Z0-9]{27}`, `NRII-`+b64u+`{32}`, `NRJS-`+hexd+`{19}`)...)
	r = append(r, tokens("sentry_token", `sntrys_[A-Za-z0-9+/=_-]{80,}`, `sntryu_`+hexd+`{64}`)...)
	r = append(r, tokens("linear_key", `lin_api_`+b62+`{40}`, `lin_oauth_`+hexd+`{64}`)...)
	r = append(r, tokens("notion_token", `ntn_`+b62+`{40,50}`, `secret_`+b62+`{43}`)...)
	r = append(r, tokens("airtable_token", `pat`+b62+`{14}\.`+hexd+`{64}`)...)
	r = append(r, that(tokens("asana_token", `1/[0-9]{16}:(`+hexd+`{32})`, `2/[0-9]{16}/[0-9]{16}:(`+hexd+`{32})`), anywhere)...)
	r = append(r, tokens("figma_token", `figd_`+b64u+`{40,}`)...)
	r = append(r, tokens("hubspot_token", `pat-na1-`+uuid, `pat-na2-`+uuid, `pat-eu1-`+uuid)...)
	r = append(r, tokens("launchdarkly_key", `sdk-`+uuid, `api-`+uuid)...)
	r = append(r, tokens("postman_key", `PMAK-`+hexd+`{24}-`+hexd+`{34}`)...)
	r = append(r, tokens("dropbox_token", `sl\.u\.`+b64u+`{130,}`, `sl\.`+b64u+`{130,}`)...)
	r = append(r, tokens("dynatrace_token", `dt0c01\.[A-Z2-7]{24}\.[A-Z2-7]{64}`, `dt0s01\.[A-Z2-7]{24}\.[A-Z2-7]{64}`)...)
	r = append(r, tokens("contentful_token", `CFPAT-`+b64u+`{43}`)...)
	r = append(r, that(tokens("typeform_token", `tfp_[A-Za-z0-9_.=-]{40,60}`), random)...)
	r = append(r, tokens("tailscale_key", `tskey-auth-`+b62+`{8,20}-`+b62+`{20,40}`, `tskey-api-`+b62+`{8,20}-`+b62+`{20,40}`, `tskey-client-`+b62+`{8,20}-`+b62+`{20,40}`)...)
	r = append(r, tokens("prefect_key", `pnu_`+b62+`{36}`, `pnb_`+b62+`{36}`)...)
	r = append(r, tokens("readme_key", `rdme_[a-z0-9]{70}`)...)
	r = append(r, tokens("posthog_key", `phx_`+b62+`{40,50}`)...)
	r = append(r, tokens("infracost_key", `ico-`+b62+`{32}`)...)
	r = append(r, tokens("scalingo_token", `tk-us-`+b64u+`{48}`)...)
	r = append(r, tokens("frameio_token", `fio-u-`+b64u+`{64}`)...)
	r = append(r, tokens("intra42_secret", `s-s4t2ud-`+hexd+`{64}`, `s-s4t2af-`+hexd+`{64}`)...)
	r = append(r, tokens("openshift_token", `sha256~`+b64u+`{43}`)...)
	r = append(r, tokens("adafruit_key", `aio_`+b62+`{28}`)...)
	r = append(r, tokens("settlemint_token", `sm_pat_`+b62+`{16}`, `sm_aat_`+b62+`{16}`, `sm_sat_`+b62+`{16}`)...)
	r = append(r, tokens("harness_key", `pat\.`+b64u+`{22}\.`+hexd+`{24}\.`+b62+`{20}`, `sat\.`+b64u+`{22}\.`+hexd+`{24}\.`+b62+`{20}`)...)
	r = append(r, that(tokens("facebook_token", `EAA[A-Z]`+b62+`{100,}`), random)...)
	r = append(r, tokens("mapbox_token", `sk\.eyJ[A-Za-z0-9_.-]{60,}`)...)
	r = append(r, tokens("onepassword_token", `ops_eyJ`+b64u+`{200,}`, `A3-[A-Z0-9]{6}-[A-Z0-9]{6}-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}`, `A3-[A-Z0-9]{6}-[A-Z0-9]{11}-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}`)...)
	// age: Bech32 (BIP 173) in capitals.
	r = append(r, that(tokens("age_key", `AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}`), anywhere)...)
	return r
}

// headerTokens are credentials of HTTP: what stands behind the scheme.
func headerTokens() (r []secretRule) {
	r = append(r, that(tokens("basic_auth", `(?i)basic ([A-Za-z0-9+/=]{8,})`), func(s *secretRule) { s.valid = isBasicAuth })...)
	r = append(r, that(tokens("bearer_token", `(?i)bearer ([A-Za-z0-9._~+/=-]{16,})`), random)...)
	// curl -u user:password
	r = append(r, that(tokens("curl_password", `-u ["']?[A-Za-z0-9_.@+-]{1,64}:([!#-&(-~]{6,64})`, `--user ["']?[A-Za-z0-9_.@+-]{1,64}:([!#-&(-~]{6,64})`), func(s *secretRule) {
		s.notAfter, s.notBefore, s.valid = besideWord, 0, func(v string) bool { return isPassword(v) && v[0] != '$' }
	})...)
	return r
}
