//! What a column may be by its header, in English and Chinese.

/// What a column means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Role {
    Phone,
    Email,
    UserId,
    MemberNo,
    CustomerNo,
    UnionId,
    OpenId,
    Weibo,
    Device,
    Cookie,
    OrderNo,
    Amount,
    Currency,
    EventName,
    OrderTime,
    Time,
    Name,
    FirstName,
    LastName,
    City,
    Country,
    Company,
    Industry,
    Title,
    Gender,
    Birthday,
    Age,
}

use Role::{
    Age, Amount, Birthday, City, Company, Cookie, Country, Currency, CustomerNo, Device, Email,
    EventName, FirstName, Gender, Industry, LastName, MemberNo, Name, OpenId, OrderNo, OrderTime,
    Phone, Time, Title, UnionId, UserId, Weibo,
};

/// Whole headers without blanks and signs, in lower case.
const WHOLE: &[(Role, &[&str])] = &[
    (
        Phone,
        &[
            "手机",
            "手机号",
            "手机号码",
            "电话",
            "电话号码",
            "联系电话",
            "联系方式",
            "收货电话",
            "phone",
            "phonenumber",
            "mobile",
            "mobilephone",
            "mobileno",
            "cell",
            "tel",
            "telephone",
        ],
    ),
    (
        Email,
        &[
            "邮箱",
            "电子邮箱",
            "电子邮件",
            "邮件",
            "邮箱地址",
            "email",
            "emailaddress",
            "mail",
            "emailid",
        ],
    ),
    (UserId, &["用户id", "用户编号", "账号", "用户账号", "userid", "uid", "accountid", "loginid"]),
    (
        MemberNo,
        &[
            "会员号",
            "会员卡号",
            "会员编号",
            "会员id",
            "卡号",
            "memberno",
            "membernumber",
            "memberid",
            "loyaltynumber",
            "loyaltyid",
            "loyaltycard",
            "cardno",
            "membershipnumber",
        ],
    ),
    (
        CustomerNo,
        &[
            "客户编号",
            "客户号",
            "客户id",
            "顾客编号",
            "联系人id",
            "customerid",
            "customerno",
            "customernumber",
            "custid",
            "clientid",
            "contactid",
            "leadid",
            "crmid",
            "accountno",
            "recordid",
            "personid",
            "账户编号",
        ],
    ),
    (UnionId, &["unionid", "微信unionid", "wechatunionid"]),
    (OpenId, &["openid", "微信openid", "wechatopenid"]),
    (Weibo, &["微博", "微博id", "weiboid", "weibouid"]),
    (Device, &["设备号", "设备id", "deviceid", "idfa", "imei", "androidid"]),
    (Cookie, &["cookie", "cookieid", "anonymousid", "visitorid", "匿名id"]),
    (
        OrderNo,
        &[
            "订单号",
            "订单编号",
            "订单id",
            "单号",
            "交易号",
            "流水号",
            "orderid",
            "orderno",
            "ordernumber",
            "invoiceno",
            "invoiceid",
            "invoicenumber",
            "invoice",
            "transactionid",
            "receiptno",
        ],
    ),
    (
        Amount,
        &[
            "金额",
            "订单金额",
            "实付金额",
            "实付",
            "实付款",
            "支付金额",
            "成交金额",
            "总价",
            "总金额",
            "应付金额",
            "amount",
            "total",
            "totalprice",
            "totalamount",
            "ordertotal",
            "revenue",
            "ordervalue",
            "orderamount",
            "grandtotal",
            "sales",
            "subtotal",
            "invoicetotal",
        ],
    ),
    (Currency, &["币种", "货币", "currency", "currencycode"]),
    (
        EventName,
        &["事件", "事件名", "事件名称", "行为", "event", "eventname", "action", "eventtype"],
    ),
    (
        OrderTime,
        &[
            "下单时间",
            "订单时间",
            "付款时间",
            "支付时间",
            "成交时间",
            "下单日期",
            "订单日期",
            "购买时间",
            "交易时间",
            "orderdate",
            "ordertime",
            "orderedat",
            "invoicedate",
            "purchasedate",
            "transactiondate",
            "paidat",
            "purchasedat",
        ],
    ),
    (
        Time,
        &[
            "时间",
            "日期",
            "创建时间",
            "更新时间",
            "注册时间",
            "发生时间",
            "timestamp",
            "time",
            "date",
            "datetime",
            "createdat",
            "updatedat",
            "createddate",
            "modifiedat",
            "eventtime",
            "occurredat",
            "observedat",
            "lastmodified",
            "registeredat",
            "signupdate",
            "dateadded",
        ],
    ),
    (
        Name,
        &[
            "姓名",
            "名字",
            "客户姓名",
            "收货人",
            "联系人",
            "会员姓名",
            "顾客姓名",
            "name",
            "fullname",
            "customername",
            "contactname",
            "displayname",
        ],
    ),
    (FirstName, &["名", "firstname", "givenname", "forename"]),
    (LastName, &["姓", "lastname", "surname", "familyname"]),
    (City, &["城市", "市", "所在城市", "city", "town"]),
    (Country, &["国家", "国家地区", "country", "countrycode", "nation"]),
    (
        Company,
        &[
            "公司",
            "公司名称",
            "单位",
            "企业",
            "company",
            "companyname",
            "organisation",
            "organization",
            "employer",
        ],
    ),
    (Industry, &["行业", "industry", "sector"]),
    (Title, &["职位", "职务", "title", "jobtitle", "position"]),
    (Gender, &["性别", "gender", "sex"]),
    (Birthday, &["生日", "出生日期", "birthday", "birthdate", "dateofbirth", "dob"]),
    (Age, &["年龄", "age"]),
];

/// Parts of longer headers: `收货人手机号`, `customer_email`.
const PARTS: &[(Role, &[&str])] = &[
    (Phone, &["手机", "phone", "mobile"]),
    (Email, &["邮箱", "email"]),
    (OrderNo, &["订单号", "订单编号"]),
    (OrderTime, &["下单时间", "付款时间"]),
    (Amount, &["金额"]),
    (UnionId, &["unionid"]),
    (OpenId, &["openid"]),
];

/// The role of a header, if it is known.
pub(super) fn role(header: &str) -> Option<Role> {
    let plain = plain(header);
    let whole = WHOLE.iter().find(|(_, words)| words.contains(&plain.as_str()));
    let part = || PARTS.iter().find(|(_, words)| words.iter().any(|word| plain.contains(word)));
    whole.or_else(part).map(|(role, _)| *role)
}

/// Lower case without blanks and signs, and without what stands in brackets: `金额(元)`.
fn plain(header: &str) -> String {
    let open = header.find(['(', '（', '[', '【']).filter(|at| *at > 0);
    let header = &header[..open.unwrap_or(header.len())];
    header.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect()
}

impl Role {
    /// The namespace of identifiers of it.
    pub(super) const fn namespace(self) -> Option<&'static str> {
        Some(match self {
            Phone => "phone",
            Email => "email",
            UserId => "user_id",
            MemberNo => "member_no",
            CustomerNo => "crm_id",
            UnionId => "wechat_unionid",
            OpenId => "wechat_openid",
            Weibo => "weibo_uid",
            Device => "device_id",
            Cookie => "anonymous_id",
            _ => return None,
        })
    }

    /// The built-in trait of it.
    pub(super) const fn built_in(self) -> Option<&'static str> {
        Some(match self {
            Phone => "phone",
            Email => "email",
            Name => "name",
            FirstName => "firstName",
            LastName => "lastName",
            City => "city",
            Country => "country",
            Company => "company",
            Industry => "industry",
            Title => "title",
            Gender => "gender",
            Birthday => "birthday",
            Age => "age",
            _ => return None,
        })
    }
}

/// A name for a trait or property: ASCII letters, digits and `_` where that is possible.
pub(super) fn slug(header: &str) -> String {
    let mut slug = String::new();
    for letter in header.trim().chars() {
        if letter.is_alphanumeric() {
            slug.extend(letter.to_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('_') {
            slug.push('_');
        }
    }
    let slug = slug.trim_end_matches('_').to_owned();
    if slug.is_empty() { header.to_owned() } else { slug }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_in_two_languages_are_understood() {
        for (header, expected) in [
            ("手机", Some(Phone)),
            ("收货人手机号", Some(Phone)),
            ("邮箱", Some(Email)),
            ("姓名", Some(Name)),
            ("订单号", Some(OrderNo)),
            ("金额(元)", Some(Amount)),
            ("下单时间", Some(OrderTime)),
            ("Customer ID", Some(CustomerNo)),
            ("InvoiceNo", Some(OrderNo)),
            ("TotalPrice", Some(Amount)),
            ("customer_email", Some(Email)),
            ("E-Mail", Some(Email)),
            ("Colour", None),
        ] {
            assert_eq!(role(header), expected, "{header}");
        }
        assert_eq!(slug("Loyalty Card / Tier"), "loyalty_card_tier");
        assert_eq!(slug("备注"), "备注");
    }
}
