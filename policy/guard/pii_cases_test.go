package guard

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// What each entity is and is not, in sentences made for it, one a line: the
// sentence, and what is to be found in it between ‹ and ›, if anything. The rule
// looks for all entities, and the one of the list is to be found, whole, and
// nothing else of it.
var piiCases = map[string]string{
	"email": `
Write to ‹jane.doe+news@mail.example.co.uk›.
请发邮件到‹zhang_san@example.com›，谢谢
邮箱：‹li.si@sub.example.cn›。
我的邮箱是‹wangwu88@163.example.com›请查收
<‹bob-smith@example.org›>
mailto:‹a@b.io›?subject=x
ask ‹A.B@EXAMPLE.COM›, or ‹c_d@example.net›; not both
（‹x1@example.com›）
@handle and #tag, price @ 5.00
user@localhost has no domain
see a@b or foo@bar.
lodash@4.17.21 and react@18.2.0
他@了我，微博@张三
`,
	"phone": `
Call ‹+44 20 7946 0958› now
tel ‹+1 (212) 555-0123›
ring ‹+49-30-1234567›, please
‹(415) 555-2671› is the office
reach me at ‹415.555.2671›.
phone: ‹4155552671›
‹415-555-2671 ext. 12›
mobile ‹07700 900123›
‹020 7946 0958›
Appelez ‹01 23 45 67 89›
‹+33 6 12 34 56 78›
‹+852 2345 6789›
‹001-415-555-2671›
fax: ‹(02) 9876 5432›
‹(11) 91234-5678›
my cell is ‹555-0123›
‹+91 98765 43210›
‹+15551234567›
‹+1 (555) 123-4567›, ‹+61 2 9374 4000›
my number is ‹5551234567›
‹0800 123 4567›
‹030 1234567›
总机‹010-12345678›
tel:‹+1-201-555-0123›
call &#1041204; now
客服热线‹400-820-8820›
联系电话：‹2345 6789›
order 415-555-2671
invoice no. 415-555-2671 is due
between 2019-2024 and 2020/2021
on 05-06-2024 12:30 we met
call logged at 1710498153
call me on 2024-03-15 10:30
contact us before 20240315
pi is 3.14159265358979
Nature (2019) 575 607-617
employee 0012345678
ISBN 978-0-306-40615-7
contact 192.168.10.254 for details
text of version 10.0.19041
a uuid 550e8400-e29b-41d4-a716-446655440000
total 1,234,567,890
2024-03-15T10:22:31.501234
`,
	"credit_card": `
card ‹4111 1111 1111 1111›
‹4111-1111-1111-1111›
‹4111.1111.1111.1111›
‹4111111111111111›.
amex ‹3782 822463 10005›, exp 12/27
‹378282246310005›
master ‹5555555555554444›
‹6011111111111117›
‹3530111333300000›
‹30569309025904›
信用卡号‹4111111111111111›，有效期12/27
信用卡：‹5105 1051 0510 5100›。
支付卡No.‹4012888888881881›
card no.‹4222222222222›
my credit card is ‹0604 2718 2818 2845 904›
4111 1111 1111 1112
0.4111111111111111
order 20240315000123
id 11010519491231002X
110105194912310021
time 1710498153000
ISBN 9780306406157
a uuid 41111111-1111-1111-1111-111111111111
sha 4111111111111111abcdef
0000 0000 0000 0000
4111 11 1111 111111
sums 411.111.111.111.111.1
`,
	"iban": `
IBAN: ‹DE89 3704 0044 0532 0130 00›.
‹DE89370400440532013000›
‹GB29 NWBK 6016 1331 9268 19›, thanks
‹NO93 8601 1117 947›
‹FR14 2004 1010 0505 0001 3M02 606›
pay to ‹de89 3704 0044 0532 0130 00› today
账号‹NL91ABNA0417164300›，请汇款
‹DE89-3704-0044-0532-0130-00›
‹MT84 MALT 0110 0001 2345 MTLC AST0 01S›
DE89 3704 0044 0532 0130 01
DE8937040044053201300
ZZ89 3704 0044 0532 0130 00
AB12 3456 7890
`,
	"ip_address": `
server ‹192.168.1.10›.
‹10.0.0.1›:8080 is up
from ‹10.0.0.1›-‹10.0.0.9›
服务器地址‹8.8.8.8›，端口53
IP：‹203.0.113.7›。
ping ‹2001:db8::1›
‹fe80::1› on the link
‹2001:0db8:85a3:0000:0000:8a2e:0370:7334›
[‹::ffff:192.0.2.128›]:443
‹2001:db8::›/32
地址是‹2001:db8:0:1::42›。
localhost is ‹::1›
‹fe80::1ff:fe23:4567:890a›%eth0
version 1.2.3.4
Version: 10.0.19041.1
版本号：1.2.3.4
v1.2.3.4
Mozilla/5.0 (X11) Chrome/120.0.0.0 Safari/537.36
see section 3.1.2.4
256.1.1.1
01.02.03.04
1.2.3
at 12:30:45
ratio 1:2:3:4
std::vector<a>::b, dead::beef
x[::2]
00:1a:2b:3c:4d:5e
2a:ff:01:9c:00:11:22:33:44:55:66:77:88:99:aa:bb
`,
	"url": `
see ‹https://example.com/a?b=c#d›.
(‹http://example.org/x_(y)_z›)
‹www.example.com/x›, or so
访问‹https://example.com/›路
网址：‹www.example.com.cn›。
请打开‹http://10.0.0.1:8080/admin›查看
<a href="‹https://example.com›">
‹ftp://files.example.com/a.zip›
HTTPS and www are words
awww.so cute
e.g. this.that
file.txt and main.go
`,
	"us_ssn": `
ssn ‹460-89-9847›
My social security number is ‹460 89 9847›.
SSN: ‹460899847›
‹219-09-9998›
他的SSN是‹460-89-9847›。
社会安全号‹460-89-9847›
000-12-3456
666-12-3456
912-34-5678
460-00-9847
460-89-0000
460 89 9847 units
460899847
46-089-9847
460-89-98471
order 460-89-9847
`,
	"cn_resident_id": `
身份证‹11010519491231002X›
身份证号：‹11010519491231002x›，请核对
‹110105 19491231 002X›
‹110105-19491231-002X›
‹110105 1949 1231 002X›
ID‹11010519491231002X›号
我的旧身份证是‹110105491231002›。
Resident ID ‹11010519491231002X› (China)
公民身份号码‹440524188001010014›
身份证110105194912310021
110105194913310020
990105194912310023
订单20240315123456789012
411111111111111111
编号110105491231002
`,
	"cn_uscc": `
统一社会信用代码：‹91350100M000100Y43›。
税号‹91350100M000100Y43›
USCC ‹91350100m000100y43›
（‹91350100M000100Y43›）
91350100M000100Y44
91350100M000100I43
91350100M000100Y4
91350100M000100Y435
`,
	"cn_mobile": `
电话:‹13812345678›
手机‹138 1234 5678›，微信同号
‹138-1234-5678›
‹138.1234.5678›
‹+86 13812345678›
‹+86-138-1234-5678›
‹0086 13812345678›
‹8613812345678›
请加微信‹19912345678›
Tel.‹13812345678›
手机号码是‹16612345678›。
我的号码‹17712345678›、‹18812345678›
（‹13812345678›）
Call ‹13912345678› in Shanghai
12812345678
138123456789
订单号13812345678
流水号：13812345678
3.13812345678
uuid 550e8400-e29b-41d4-a716-138123456780
1380.12345678
`,
	"cn_bank_card": `
银行卡‹6222 0212 3456 7890 128›
卡号：‹6222021234567890128›。
储蓄卡‹6228-4800-0000-0000-018›
‹6217001234567893›请转账
工行卡‹9558801234567890128›
银行卡6222021234567890123
62220212345678901
订单6222021234567890123号
`,
	"cn_passport": `
护照‹E12345678›
护照号码：‹EA1234567›。
passport no. ‹G12345678›
我的护照号是‹e12345678›，请核对
Passport: ‹PE1234567›
证件号‹E12345678›
型号E12345678
model E12345678
passport E1234567
passport EI1234567
`,
	"cn_plate": `
车牌‹京A12345›
‹沪B·1234学›
‹粤B12345›已离场
‹京AD12345›是新能源
‹粤B·12345D›，停在门口
车牌号：‹浙A·F12345›。
‹川 A 12345›
‹苏E-8K988›
‹粤Z1234港›
‹新A12345›
车牌是‹新AB1C23›
‹京A·12345›
最新RTX4090显卡
全新GT5000上市
云ECS2024
京A1234
京AI2345
京A123456789
来自北京A座12345
`,
}

func TestPIICases(t *testing.T) {
	names := "entities: [" + strings.Join(strings.Fields(`email phone credit_card iban ip_address url us_ssn cn_resident_id cn_uscc cn_mobile cn_bank_card cn_passport cn_plate
		mac_address cn_landline uk_nino in_aadhaar in_pan br_cpf fr_nir es_nif it_fiscal_code de_tax_id hk_id btc_address eth_address cn_hk_macau_permit cn_taiwan_permit cn_officer_id`), ", ") + "]"
	e := compilePII(t, names)
	for name, lines := range piiCases {
		for line := range strings.Lines(strings.TrimSpace(lines)) {
			line = strings.TrimSuffix(line, "\n")
			var want []string
			for i, part := range strings.FieldsFunc(line, func(r rune) bool { return r == '‹' || r == '›' }) {
				if (i%2 == 1) != strings.HasPrefix(line, "‹") {
					want = append(want, part)
				}
			}
			text := strings.NewReplacer("‹", "", "›", "").Replace(line)
			var got []string
			for _, f := range e(text) {
				if kind, stretch, _ := strings.Cut(f, ":"); kind == name {
					got = append(got, stretch)
				}
			}
			if strings.Join(got, " | ") != strings.Join(want, " | ") {
				t.Errorf("%s: in %q found %q, want %q; all: %q", name, text, got, want, e(text))
			}
		}
	}
}

// In numbers by chance hardly any is somebody's.
func TestPIIInNumbersByChance(t *testing.T) {
	find := compilePII(t, "")
	r := rand.New(rand.NewPCG(5, 6))
	texts, found := 0, map[string]int{}
	for range 4000 {
		digits := digitsAtRandom(r, 5+r.IntN(16))
		text := oneOf(r, []string{"row ", "编码", "序列号：", "batch ", "value=", "共"}) + digits + oneOf(r, []string{"", " done", "。", ", ok"})
		texts++
		for _, f := range find(text) {
			kind, _, _ := strings.Cut(f, ":")
			found[kind]++
		}
	}
	t.Logf("of %d texts: %v", texts, found)
	for kind, n := range found {
		if n*100 > texts {
			t.Errorf("%s: %d of %d", kind, n, texts)
		}
	}
}
