//! Where a visit came from: campaign, click id and referrer of a page view become a channel, in
//! the terms of the default channel groups of web analytics. Pure.
//!
//! What the link itself says goes before what the browser saw: a campaign before a click id before
//! the referrer. `fbclid` proves no advertisement (every link that leaves Facebook carries one); the other
//! click ids do.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Hosts and their kind, from the files beside the crate (see `data/README.md`).
static REFERRERS: LazyLock<HashMap<&'static str, Referrer>> = LazyLock::new(|| {
    let lists =
        [include_str!("../../data/referrers.csv"), include_str!("../../data/referrers-more.csv")];
    lists.into_iter().flat_map(str::lines).filter_map(line).collect()
});
/// The same by the name of the source, in lower case; of several the one of search goes first.
static NAMES: LazyLock<HashMap<String, Referrer>> = LazyLock::new(|| {
    let mut names: HashMap<String, Referrer> = HashMap::new();
    for referrer in REFERRERS.values() {
        let known = names.entry(referrer.source.to_lowercase()).or_insert(*referrer);
        if referrer.medium == "search" {
            *known = *referrer;
        }
    }
    names
});
/// Click ids of advertisements, with the channel and the network that write them.
const CLICKS: [(&str, &str, &str); 10] = [
    ("gclid", "paid_search", "Google"),
    ("gbraid", "paid_search", "Google"),
    ("wbraid", "paid_search", "Google"),
    ("msclkid", "paid_search", "Bing"),
    ("bd_vid", "paid_search", "Baidu"),
    ("qhclickid", "paid_search", "360.cn"),
    ("sogou_vid", "paid_search", "Sogou"),
    ("ttclid", "paid_social", "TikTok"),
    ("twclid", "paid_social", "X"),
    ("li_fat_id", "paid_social", "LinkedIn"),
];
/// Of the path of a referrer that an entry of the list may name.
const SEGMENTS: usize = 3;

/// What a list knows of a host.
#[derive(Debug, Clone, Copy)]
struct Referrer {
    medium: &'static str,
    source: &'static str,
}

/// What is known of how somebody came to a page.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Visit<'a> {
    /// The page, with its query.
    pub(crate) url: &'a str,
    /// The page before it; empty if there was none.
    pub(crate) referrer: &'a str,
    /// `utm_source`.
    pub(crate) campaign_source: &'a str,
    /// `utm_medium`.
    pub(crate) campaign_medium: &'a str,
}

/// Where somebody came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acquisition {
    pub(crate) channel: &'static str,
    /// The site or campaign source; none of a direct visit.
    pub(crate) source: Option<String>,
}

/// The channel of a visit.
pub(crate) fn of(visit: &Visit<'_>) -> Acquisition {
    let Visit { url, referrer, campaign_source, campaign_medium } = *visit;
    if !campaign_source.is_empty() || !campaign_medium.is_empty() {
        return campaign(campaign_source, campaign_medium);
    }
    if let Some((_, channel, source)) = click(url) {
        return Acquisition { channel, source: Some(source.to_owned()) };
    }
    let Some((host, path)) = host_and_path(referrer) else {
        return Acquisition { channel: "direct", source: None };
    };
    if host_and_path(url).is_some_and(|(own, _)| is_same_site(&own, &host)) {
        return Acquisition { channel: "internal", source: None };
    }
    let found = find(&host, path);
    let channel = found.map_or("referral", |found| organic(found.medium));
    Acquisition { channel, source: Some(found.map_or(host, |found| found.source.to_owned())) }
}

/// The first click id of an advertisement in the query.
fn click(url: &str) -> Option<(&'static str, &'static str, &'static str)> {
    let (_, query) = url.split_once('?')?;
    let query = query.split('#').next()?;
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut names = pairs.filter(|(_, value)| !value.is_empty()).map(|(name, _)| name);
    names.find_map(|name| CLICKS.into_iter().find(|(click, ..)| *click == name))
}

fn campaign(source: &str, medium: &str) -> Acquisition {
    let source = source.trim().to_lowercase();
    let medium = medium.trim().to_lowercase();
    let found = named(&source);
    // `cpc`, `ocpc`, `cpa`, `cps`; `cpm` pays for being seen.
    let is_paid = medium.starts_with("paid")
        || (medium.contains("cp") && medium != "cpm")
        || ["ppc", "retargeting", "sem", "ad", "ads", "feed"].contains(&&*medium);
    let channel = match (&*medium, found.map(|found| found.medium)) {
        (_, Some("search")) if is_paid => "paid_search",
        (_, Some("social")) if is_paid => "paid_social",
        ("paidsearch" | "paid_search" | "paid-search", _) => "paid_search",
        ("paidsocial" | "paid_social" | "paid-social", _) => "paid_social",
        _ if is_paid => "paid_other",
        ("display" | "banner" | "interstitial" | "cpm", _) => "display",
        ("email" | "e-mail" | "newsletter", _) => "email",
        ("sms", _) => "sms",
        ("push" | "notification", _) => "mobile_push",
        ("affiliate" | "affiliates", _) => "affiliates",
        ("social" | "social-network" | "social-media" | "sm", _) => "organic_social",
        ("organic", _) => "organic_search",
        ("referral" | "app" | "link", _) => "referral",
        ("video", _) => "organic_video",
        // The source alone says it.
        ("", Some(known)) => organic(known),
        _ => "other",
    };
    let source = found.map_or(source, |found| found.source.to_owned());
    Acquisition { channel, source: (!source.is_empty()).then_some(source) }
}

fn organic(medium: &str) -> &'static str {
    match medium {
        "search" => "organic_search",
        "social" => "organic_social",
        "email" => "email",
        _ => "referral",
    }
}

/// A campaign source that is the name or the host of something on the lists.
fn named(source: &str) -> Option<Referrer> {
    if source.contains('.') {
        return find(source, "");
    }
    NAMES.get(source).copied()
}

/// The entry for the longest part of the address that the lists know.
fn find(host: &str, path: &str) -> Option<Referrer> {
    let mut host = host;
    loop {
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
        let mut ends: Vec<usize> = ends.filter(|end| *end > 1).take(SEGMENTS).collect();
        while let Some(end) = ends.pop() {
            let address = format!("{host}{}", &path[..end]);
            if let Some(found) = REFERRERS.get(&*address) {
                return Some(*found);
            }
        }
        if let Some(found) = REFERRERS.get(host) {
            return Some(*found);
        }
        host = host.split_once('.')?.1;
    }
}

fn line(line: &'static str) -> Option<(&'static str, Referrer)> {
    let (medium, rest) = line.split_once(',')?;
    // A source may hold commas, a host holds none.
    let (source, host) = rest.rsplit_once(',')?;
    let host = host.trim().trim_start_matches('.').trim_end_matches('/');
    Some((host, Referrer { medium, source: source.trim_matches('"') }))
}

/// In lower case, without port; nothing of what is no web address.
fn host_and_path(url: &str) -> Option<(String, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    if !["http", "https", "android-app"].contains(&&*scheme.to_ascii_lowercase()) {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let path = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
    let host = authority.rsplit('@').next()?.split(':').next()?;
    (!host.is_empty()).then(|| (host.to_lowercase(), path))
}

/// `www.shop.example` and `blog.shop.example` are one site, `shop.example` and `example` are not.
fn is_same_site(one: &str, other: &str) -> bool {
    let bare = |host: &str| host.strip_prefix("www.").unwrap_or(host).to_owned();
    let (one, other) = (bare(one), bare(other));
    let below = |inner: &str, outer: &str| {
        outer.contains('.') && inner.strip_suffix(outer).is_some_and(|rest| rest.ends_with('.'))
    };
    one == other || below(&one, &other) || below(&other, &one)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "https://shop.example.cn/tents?utm=no";

    fn from(referrer: &str) -> (&'static str, String) {
        let Acquisition { channel, source } =
            of(&Visit { url: PAGE, referrer, ..Visit::default() });
        (channel, source.unwrap_or_default())
    }

    #[test]
    fn a_referrer_tells_the_channel() {
        let cases = [
            ("", "direct", ""),
            ("about:blank", "direct", ""),
            ("https://shop.example.cn/", "internal", ""),
            ("https://www.shop.example.cn:8443/a", "internal", ""),
            ("https://blog.shop.example.cn/a", "internal", ""),
            ("https://example.cn.evil.test/", "referral", "example.cn.evil.test"),
            ("https://www.baidu.com/link?url=x", "organic_search", "Baidu"),
            ("https://m.baidu.com/s?wd=%E5%B8%90", "organic_search", "Baidu"),
            ("https://www.google.com/", "organic_search", "Google"),
            ("https://www.google.co.uk/", "organic_search", "Google"),
            ("https://mail.google.com/mail/u/0/", "email", "Gmail"),
            ("https://cn.bing.com/search?q=x", "organic_search", "Bing"),
            ("https://www.bing.com/images/search?q=x", "organic_search", "Bing Images"),
            ("https://www.sogou.com/web", "organic_search", "Sogou"),
            ("https://www.so.com/s", "organic_search", "360.cn"),
            ("https://m.sm.cn/s", "organic_search", "Shenma"),
            ("https://weibo.com/u/1", "organic_social", "Weibo"),
            ("https://m.weibo.cn/", "organic_social", "Weibo"),
            ("https://link.zhihu.com/?target=x", "organic_social", "Zhihu"),
            ("https://mp.weixin.qq.com/s/abc", "organic_social", "WeChat"),
            ("https://www.xiaohongshu.com/explore/1", "organic_social", "Xiaohongshu"),
            ("https://www.douyin.com/", "organic_social", "Douyin"),
            ("https://mail.163.com/js6/main.jsp", "email", "NetEase Mail"),
            ("HTTPS://News.Example.ORG/story", "referral", "news.example.org"),
        ];
        for (referrer, channel, source) in cases {
            assert_eq!(from(referrer), (channel, source.to_owned()), "{referrer}");
        }
    }

    #[test]
    fn what_the_link_says_goes_first() {
        let visit = |source, medium, query: &str| {
            let (url, referrer) = (&*format!("{PAGE}&{query}#top"), "https://www.baidu.com/");
            let seen =
                of(&Visit { url, referrer, campaign_source: source, campaign_medium: medium });
            (seen.channel, seen.source.unwrap_or_default())
        };
        let cases = [
            (visit("", "", "bd_vid=1"), "paid_search", "Baidu"),
            (visit("", "", "a=b&gclid=x"), "paid_search", "Google"),
            (visit("", "", "fbclid=x&gclid="), "organic_search", "Baidu"),
            (visit("google", "cpc", ""), "paid_search", "Google"),
            (visit("weibo.com", "paid_social", ""), "paid_social", "Weibo"),
            (visit("partner", "cpc", "gclid=x"), "paid_other", "partner"),
            (visit("Spring", "Email", ""), "email", "spring"),
            (visit("", "banner", ""), "display", ""),
            (visit("facebook", "", ""), "organic_social", "Facebook"),
            (visit("baidu", "sem", ""), "paid_search", "Baidu"),
            (visit("baidu", "ocpc", ""), "paid_search", "Baidu"),
            (visit("wechat", "cpa", ""), "paid_social", "WeChat"),
            (visit("weibo", "feed", ""), "paid_social", "Weibo"),
            (visit("baidu", "leaflet", ""), "other", "Baidu"),
            (visit("baidu", "organic", ""), "organic_search", "Baidu"),
            (visit("leaflet", "", ""), "other", "leaflet"),
        ];
        for (seen, channel, source) in cases {
            assert_eq!(seen, (channel, source.to_owned()));
        }
    }

    #[test]
    fn garbage_is_some_channel() {
        for referrer in
            ["://", "https://", "https:///x", "https://@:/", "http://..", "x://y", "https://ü"]
        {
            let _ = from(referrer);
        }
        assert!(REFERRERS.len() > 1_700, "{}", REFERRERS.len());
    }
}
