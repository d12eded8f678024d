//! Who runs the tool, as the registry's history names them: a CI job by its address, anybody else as `user@host`.

use url::Url;

use super::Environment;

/// The address of the CI job, or the user on this host, which is named `host_name`.
pub fn actor_name(environment: &Environment, host_name: Option<&str>) -> String {
    let get = |name| environment.text(name).ok().flatten();
    if let Some(job) = job_address(&get) {
        return job.into();
    }
    let user = ["USER", "LOGNAME", "USERNAME"].into_iter().find_map(get).unwrap_or("unknown");
    match host_name.or_else(|| get("COMPUTERNAME")) {
        Some(host) => format!("{user}@{host}"),
        None => user.to_owned(),
    }
}

/// The address of the CI job that this is. The last of them is the most common name of a variable.
fn job_address<'a>(get: &impl Fn(&'static str) -> Option<&'a str>) -> Option<Url> {
    github(get)
        .or_else(|| address(get("CI_JOB_URL")?))
        .or_else(|| address(get("CIRCLE_BUILD_URL")?))
        .or_else(|| buildkite(get))
        .or_else(|| azure(get))
        .or_else(|| bitbucket(get))
        .or_else(|| address(get("BUILD_URL")?))
}

/// GitHub Actions, <https://docs.github.com/actions/reference/workflows-and-actions/variables>.
fn github<'a>(get: &impl Fn(&'static str) -> Option<&'a str>) -> Option<Url> {
    let run = get("GITHUB_RUN_ID")?;
    let repository = get("GITHUB_REPOSITORY")?.split('/');
    below(address(get("GITHUB_SERVER_URL")?)?, repository.chain(["actions", "runs", run]))
}

/// Buildkite, <https://buildkite.com/docs/pipelines/configure/environment-variables>: the job is an anchor in its build.
fn buildkite<'a>(get: &impl Fn(&'static str) -> Option<&'a str>) -> Option<Url> {
    let mut url = address(get("BUILDKITE_BUILD_URL")?)?;
    url.set_fragment(get("BUILDKITE_JOB_ID"));
    Some(url)
}

/// Azure Pipelines, <https://learn.microsoft.com/azure/devops/pipelines/build/variables>.
fn azure<'a>(get: &impl Fn(&'static str) -> Option<&'a str>) -> Option<Url> {
    let build = get("BUILD_BUILDID")?;
    let project = get("SYSTEM_TEAMPROJECT")?;
    let mut url = below(address(get("SYSTEM_TEAMFOUNDATIONCOLLECTIONURI")?)?, [project, "_build", "results"])?;
    url.query_pairs_mut().append_pair("buildId", build);
    Some(url)
}

/// Bitbucket Pipelines, <https://support.atlassian.com/bitbucket-cloud/docs/variables-and-secrets/>.
fn bitbucket<'a>(get: &impl Fn(&'static str) -> Option<&'a str>) -> Option<Url> {
    let build = get("BITBUCKET_BUILD_NUMBER")?;
    let repository = get("BITBUCKET_REPO_FULL_NAME")?.split('/');
    below(address("https://bitbucket.org")?, repository.chain(["pipelines", "results", build]))
}

/// A web address without what may be secret in it: user name, password, query and fragment.
fn address(text: &str) -> Option<Url> {
    let mut url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    // Both fail only without a host, which web addresses have.
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    url.set_query(None);
    url.set_fragment(None);
    Some(url)
}

fn below<'a>(mut url: Url, segments: impl IntoIterator<Item = &'a str>) -> Option<Url> {
    url.path_segments_mut().ok()?.pop_if_empty().extend(segments);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(variables: &[(&str, &str)]) -> String {
        let value = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        actor_name(&Environment::from_lookup(value), Some("build-1"))
    }

    #[test]
    fn a_job_is_named_by_its_address() {
        let github = [
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_REPOSITORY", "acme/app"),
            ("GITHUB_RUN_ID", "1658821493"),
        ];
        let azure = [
            ("SYSTEM_TEAMFOUNDATIONCOLLECTIONURI", "https://dev.azure.com/acme/"),
            ("SYSTEM_TEAMPROJECT", "Our App"),
            ("BUILD_BUILDID", "42"),
        ];
        let buildkite =
            [("BUILDKITE_BUILD_URL", "https://buildkite.com/acme/app/builds/7"), ("BUILDKITE_JOB_ID", "e44f9784-e20e")];
        let bitbucket = [("BITBUCKET_REPO_FULL_NAME", "acme/app"), ("BITBUCKET_BUILD_NUMBER", "12")];
        for (variables, address) in [
            (&github[..], "https://github.com/acme/app/actions/runs/1658821493"),
            (&[("CI_JOB_URL", "https://gitlab.com/acme/app/-/jobs/9")], "https://gitlab.com/acme/app/-/jobs/9"),
            (&[("BUILD_URL", "http://ci.local:8080/job/app/5/")], "http://ci.local:8080/job/app/5/"),
            (&[("CIRCLE_BUILD_URL", "https://circleci.com/gh/acme/app/3")], "https://circleci.com/gh/acme/app/3"),
            (&buildkite, "https://buildkite.com/acme/app/builds/7#e44f9784-e20e"),
            (&azure, "https://dev.azure.com/acme/Our%20App/_build/results?buildId=42"),
            (&bitbucket, "https://bitbucket.org/acme/app/pipelines/results/12"),
        ] {
            assert_eq!(name_of(variables), address);
            // Without one of them it is no such job.
            for left_out in 0..variables.len() {
                let mut others = variables.to_vec();
                others.remove(left_out);
                others.push(("USER", "ada"));
                let anchor = variables[left_out].0 == "BUILDKITE_JOB_ID";
                assert_eq!(name_of(&others) == "ada@build-1", !anchor, "{others:?}");
            }
            // The user of a job says less than its address.
            assert_eq!(name_of(&[variables, &[("USER", "runner")]].concat()), address);
        }
    }

    #[test]
    fn nothing_secret_of_an_address_is_kept() {
        let job = [("CI_JOB_URL", "https://bot:s3cret@git.example/-/jobs/9?private_token=s3cret#s3cret")];
        assert_eq!(name_of(&job), "https://git.example/-/jobs/9");
        let run = [
            ("GITHUB_SERVER_URL", "https://t0ken@git.example/"),
            ("GITHUB_REPOSITORY", "acme/app?x=1"),
            ("GITHUB_RUN_ID", "1"),
        ];
        assert_eq!(name_of(&run), "https://git.example/acme/app%3Fx=1/actions/runs/1");
    }

    #[test]
    fn anybody_else_is_a_user_on_a_host() {
        assert_eq!(name_of(&[("USER", "ada"), ("LOGNAME", "root")]), "ada@build-1");
        assert_eq!(name_of(&[("LOGNAME", "ada")]), "ada@build-1");
        assert_eq!(name_of(&[("USERNAME", "ada"), ("COMPUTERNAME", "PC")]), "ada@build-1");
        assert_eq!(name_of(&[]), "unknown@build-1");
        // What is no web address names no job.
        assert_eq!(name_of(&[("BUILD_URL", "build 7"), ("CI_JOB_URL", "file:///x"), ("USER", "ada")]), "ada@build-1");
        let windows = Environment::from_lookup(|name| {
            [("USERNAME", "ada"), ("COMPUTERNAME", "PC")]
                .into_iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.into())
        });
        assert_eq!(actor_name(&windows, None), "ada@PC");
        assert_eq!(actor_name(&Environment::default(), None), "unknown");
    }
}
