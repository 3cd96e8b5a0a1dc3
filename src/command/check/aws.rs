//! AWS credentials: whether the SDK of the collector or of the client would find any, and where. They are not tried: a
//! request that is worth signing does something.

use std::path::{Path, PathBuf};

use super::answer::{Answer, Stage};
use super::environment::Environment;

/// Looks for credentials in the order of the SDKs.
pub(super) fn credentials(environment: &Environment) -> Answer {
    match source(environment) {
        Ok(Some(source)) => Answer::ok(format!("found in {source}; not tried")),
        Ok(None) => {
            let next = if environment.in_cluster() {
                "give the pod's service account a role (EKS Pod Identity, or IRSA), and the Job that account with --service-account NAME"
            } else {
                "log in (aws sso login, AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or check with the credentials \
                 of the cluster: --job --image IMAGE --service-account NAME"
            };
            Answer::credential(
                Stage::Environment,
                format!(
                    "no AWS credentials were found in variables, web identity, shared files or a container endpoint; {next}"
                ),
            )
        }
        Err(problem) => Answer::credential(Stage::Environment, problem),
    }
}

fn source(environment: &Environment) -> Result<Option<String>, String> {
    if environment.get("AWS_ACCESS_KEY_ID").is_some() {
        return match environment.get("AWS_SECRET_ACCESS_KEY") {
            Some(_) => Ok(Some("the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".to_owned())),
            None => Err("AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not; set both, or neither".to_owned()),
        };
    }
    if let Some(file) = environment.get("AWS_WEB_IDENTITY_TOKEN_FILE") {
        let Some(role) = environment.get("AWS_ROLE_ARN") else {
            return Err("AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not; set both, or neither".to_owned());
        };
        return if Path::new(file).is_file() {
            Ok(Some(format!("the web identity token {file}, for the role {role}")))
        } else {
            Err(format!("AWS_WEB_IDENTITY_TOKEN_FILE names {file}, which is no file; has the token been projected?"))
        };
    }
    let wanted = environment.get("AWS_PROFILE").unwrap_or("default");
    for file in shared_files(environment) {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if profiles(&text).any(|profile| profile == wanted) {
            return Ok(Some(format!("profile `{wanted}` of {}", file.display())));
        }
    }
    if let Some(profile) = environment.get("AWS_PROFILE") {
        return Err(format!(
            "AWS_PROFILE is `{profile}`, and no shared file has that profile; aws configure list-profiles shows them"
        ));
    }
    for name in ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] {
        if environment.get(name).is_some() {
            return Ok(Some(format!("the container endpoint of {name}")));
        }
    }
    Ok(None)
}

/// The credentials file and the config file of the AWS command line.
fn shared_files(environment: &Environment) -> Vec<PathBuf> {
    [("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config")]
        .iter()
        .filter_map(|(variable, name)| match environment.get(variable) {
            Some(path) => Some(PathBuf::from(path)),
            None => Some(Path::new(environment.get("HOME")?).join(".aws").join(name)),
        })
        .collect()
}

/// The profiles with a line of their own in them: an empty one holds no credential.
fn profiles(text: &str) -> impl Iterator<Item = &str> {
    let mut current = None;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            current = Some(name.trim().trim_start_matches("profile ").trim());
            return None;
        }
        let key = line.split('=').next().unwrap_or_default().trim();
        let gives = [
            "aws_access_key_id",
            "role_arn",
            "sso_session",
            "sso_start_url",
            "credential_process",
            "web_identity_token_file",
        ];
        if gives.contains(&key) { current } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_counts_when_it_says_how_to_get_credentials() {
        let text = "[default]\nregion = eu-west-1\n[profile prod]\nrole_arn = arn:aws:iam::111122223333:role/x\n[ci]\naws_access_key_id=AKIA\n";
        assert_eq!(profiles(text).collect::<Vec<_>>(), ["prod", "ci"]);
    }
}
