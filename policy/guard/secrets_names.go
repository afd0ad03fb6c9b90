package guard

// named is a secret without a mark of its own: it is told by its length and
// alphabet, and by the name of its issuer in what it is assigned to.
func named(kind, form string, names ...string) secretRule {
	r := secretRule{kind: kind, reader: namedReader, form: form, names: names}
	if form == uuid {
		return r
	}
	r.valid = isRandom
	return r
}

const (
	base64s  = `[A-Za-z0-9/+]`
	anyValue = `[!-~]`
)

// namedSecrets: lengths and alphabets are those of the keys that the issuers
// give out. Names are written in small letters and found in any case.
func namedSecrets() []secretRule {
	aws := named("aws_secret_key", base64s+`{40}`, "aws_secret", "secretaccesskey", "secret_access_key", "secret access key", "secret-access-key", "aws secret")
	aws.valid = isAWSSecret
	azure := named("azure_storage_key", base64s+`{86}={2}`, "accountkey", "account_key", "storage_key", "azure_storage", "sharedaccesskey")
	azure.valid = isAWSSecret
	return []secretRule{
		aws, azure,
		named("aws_session_token", `[A-Za-z0-9/+=]{100,}`, "aws_session_token", "sessiontoken", "aws_security_token"),
		named("azure_key", `[A-Za-z0-9]{84}`, "azure", "ocp-apim-subscription-key"),
		named("azure_key", `[a-z0-9]{32}`, "azure", "ocp-apim-subscription-key"),
		named("azure_devops_token", `[a-z0-9]{52}`, "azure_devops", "azdo", "vsts", "azure devops"),
		named("gcp_service_account", `[0-9a-f]{40}`, "private_key_id"),
		named("alibaba_secret_key", `[A-Za-z0-9]{30}`, "aliyun", "alibaba", "accesskeysecret", "access_key_secret", "阿里云"),
		named("tencent_secret_key", `[A-Za-z0-9]{32}`, "tencent", "qcloud", "腾讯云"),
		named("huawei_secret_key", `[A-Za-z0-9]{40}`, "huawei", "hwcloud", "hw_secret", "华为云"),
		named("volcengine_secret_key", `[A-Za-z0-9=]{40,64}`, "volc", "火山"),
		named("ark_key", uuid, "ark_api", "volc", "doubao", "豆包"),
		named("baidu_secret_key", `[A-Za-z0-9]{24,32}`, "baidu", "qianfan", "ernie", "百度", "千帆"),
		named("deepseek_key", `[A-Za-z0-9-]{32,40}`, "deepseek"),
		named("dashscope_key", `[A-Za-z0-9-]{32,40}`, "dashscope", "qwen", "bailian", "百炼", "通义"),
		named("moonshot_key", `[A-Za-z0-9-]{40,60}`, "moonshot", "kimi", "月之暗面"),
		named("zhipu_key", `[0-9a-f]{32}\.[A-Za-z0-9]{16}`, "zhipu", "bigmodel", "glm", "智谱"),
		named("mistral_key", `[A-Za-z0-9]{32}`, "mistral"),
		named("cohere_key", `[A-Za-z0-9]{40}`, "cohere", "co_api_key"),
		named("wandb_key", `[0-9a-f]{40}`, "wandb"),
		named("cloudflare_token", `[A-Za-z0-9_-]{37,40}`, "cloudflare", "cf_api"),
		named("heroku_key", uuid, "heroku"),
		named("vercel_token", `[A-Za-z0-9]{24}`, "vercel"),
		named("datadog_key", `[0-9a-f]{32,40}`, "datadog", "dd_api_key", "dd_app_key", "dd_application_key"),
		named("pagerduty_key", `[A-Za-z0-9_+-]{20}`, "pagerduty", "pager_duty"),
		named("postmark_token", uuid, "postmark"),
		named("mailchimp_key", `[0-9a-f]{32}-us[0-9]{1,2}`, "mailchimp"),
		named("twilio_auth_token", `[0-9a-f]{32}`, "twilio"),
		named("snyk_token", uuid, "snyk"),
		named("okta_token", `00[A-Za-z0-9_-]{40}`, "okta"),
		named("algolia_key", `[a-z0-9]{32}`, "algolia"),
		named("asana_secret", `[a-z0-9]{32}`, "asana"),
		named("discord_secret", `[A-Za-z0-9_-]{32}`, "discord"),
		named("feishu_secret", `[A-Za-z0-9]{32}`, "feishu", "lark", "飞书"),
		named("wecom_secret", `[A-Za-z0-9_-]{43}`, "corpsecret", "corp_secret", "wecom", "企业微信"),
		named("wechat_secret", `[0-9a-f]{32}`, "appsecret", "app_secret", "wechat", "weixin", "小程序"),
		named("wechat_pay_key", `[A-Za-z0-9]{32}`, "mch_key", "mchkey", "apiv3key", "apiv3_key", "api_v3_key", "wxpay", "wechatpay", "wechat_pay", "微信支付"),
		named("alipay_private_key", `[A-Za-z0-9+/=]{200,}`, "alipay", "app_private_key", "merchant_private_key", "rsa_private_key", "支付宝"),
		named("paypal_secret", `[A-Za-z0-9_-]{80}`, "paypal"),
		named("twitter_token", `[A-Za-z0-9%-]{35,120}`, "twitter"),
		named("linkedin_secret", `[A-Za-z0-9.=_-]{16,40}`, "linkedin"),
		named("zendesk_key", `[A-Za-z0-9]{40}`, "zendesk"),
		named("coinbase_key", `[A-Za-z0-9_-]{64}`, "coinbase"),
		named("binance_key", `[A-Za-z0-9]{64}`, "binance"),
		named("fastly_token", `[A-Za-z0-9_-]{32}`, "fastly"),
		named("intercom_token", `[A-Za-z0-9=_-]{60}`, "intercom"),
		named("rapidapi_key", `[A-Za-z0-9]{50}`, "rapidapi"),
		named("travisci_token", `[A-Za-z0-9]{22}`, "travis"),
		named("codecov_token", `[A-Za-z0-9-]{32,36}`, "codecov"),
		named("droneci_token", `[A-Za-z0-9]{32}`, "drone_", "droneci"),
	}
}

// assignedSecrets are values of names that say secret and no more. They stand
// last: whatever else fits a value says more of it.
func assignedSecrets() []secretRule {
	password := secretRule{kind: "password", reader: namedReader, form: anyValue + `{6,}`, valid: isPassword,
		names: []string{"password", "passwd", "passphrase", "pwd", "passcode", "密码", "口令", "密碼"}}
	key := secretRule{kind: "api_key", reader: namedReader, form: anyValue + `{12,}`, valid: isAPIKey,
		names: []string{
			"api_key", "apikey", "api-key", "api key", "api_secret", "api-secret", "secret", "token", "access_key", "accesskey", "access-key", "access key",
			"auth_key", "authkey", "auth-key", "private_key", "privatekey", "encryption_key", "signing_key", "master_key", "app_key", "appkey", "account_key",
			"credential", "密钥", "秘钥", "令牌", "凭证", "密鑰",
		}}
	return []secretRule{password, key}
}
