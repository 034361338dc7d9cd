<?php
// A worker that polls for the jobs of one queue type and processes them one after another.
//
//     php polling_worker.php [URL [QUEUE_TYPE]]
//
// It needs PHP 8.1 and no package. Where the server asks for a token, SHARQ_TOKEN has it. A payload may
// say how long its job takes (`work_ms`), or that it fails (`fail`). A job has to be done within its lease,
// by default a minute.

declare(strict_types=1);

const WAIT = 5; // seconds that a dequeue waits for a job, and so a stop, at most
const LONGEST_DELAY = 30.0;

$url = rtrim($argv[1] ?? 'http://127.0.0.1:8080', '/');
$type = $argv[2] ?? 'sms';
$stopping = false;

/** The work itself. Put yours here. */
function process(array $job): void
{
    $payload = $job['payload'];
    echo $job['queue_id'], ' ', json_encode($payload, JSON_UNESCAPED_SLASHES), "\n";
    usleep(1000 * ($payload['work_ms'] ?? 0));
    if ($payload['fail'] ?? false) {
        throw new RuntimeException('its payload asks for it');
    }
}

/** Makes a request: the status, 0 if no answer came, and the body. */
function call(string $url, ?array $body = null): array
{
    $headers = ['Content-Type: application/json'];
    if ($token = getenv('SHARQ_TOKEN')) {
        $headers[] = "Authorization: Bearer $token";
    }
    $options = ['method' => 'POST', 'header' => $headers, 'ignore_errors' => true];
    $options += ['timeout' => WAIT + 30, 'content' => json_encode($body ?? new stdClass())];
    $stream = @fopen($url, 'r', false, stream_context_create(['http' => $options]));
    if ($stream === false) {
        return [0, ['message' => "no answer from $url"]];
    }
    $answer = json_decode((string) stream_get_contents($stream), true);
    preg_match('/ (\d{3})/', stream_get_meta_data($stream)['wrapper_data'][0], $found);
    fclose($stream);
    return is_array($answer) ? [(int) $found[1], $answer] : [0, ['message' => 'no whole answer']];
}

/** Sleeps a random time below a bound that doubles with each failure in a row. */
function back_off(int &$failures, array $answer): void
{
    fwrite(STDERR, "Something went wrong: {$answer['message']}\n");
    $bound = min(LONGEST_DELAY, 0.25 * 2 ** $failures++);
    usleep((int) (1e6 * $bound * lcg_value()) + 10_000);
}

/** Ends the lease of a job; repeated until the server has an answer, which does no harm. */
function finish_or_fail(string $how, array $job, array $body): void
{
    global $url, $type, $stopping;
    $failures = 0;
    do {
        $path = "$how/$type/{$job['queue_id']}/{$job['job_id']}/";
        [$status, $answer] = call("$url/$path", ['lease' => $job['lease']] + $body);
        if ($status >= 200 && $status < 500) {
            if ($status >= 300) { // the lease was over: the job is another worker's by now
                fwrite(STDERR, "{$job['job_id']}: {$answer['message']}\n");
            }
            return;
        }
        back_off($failures, $answer);
    } while ($failures < ($stopping ? 4 : 10)); // then the job comes back when its lease is over
}

if (function_exists('pcntl_async_signals')) {
    pcntl_async_signals(true);
    $stop = function () use (&$stopping): void {
        $stopping = true;
    };
    pcntl_signal(SIGTERM, $stop);
    pcntl_signal(SIGINT, $stop);
}

$failures = 0;
$request = null;
while (!$stopping) {
    // With its name a request can be repeated when its answer was lost: no other job is leased.
    $request ??= bin2hex(random_bytes(8));
    [$status, $job] = call("$url/dequeue/$type/?wait=" . WAIT . "&request_id=$request");
    $nothing = $status === 404 && ($job['code'] ?? '') === 'nothing_ready'; // in this time
    if ($status !== 200 && !$nothing) {
        $stopping || back_off($failures, $job);
        continue;
    }
    $request = null;
    $failures = 0;
    if ($nothing) {
        continue;
    }
    try {
        process($job);
        finish_or_fail('finish', $job, []);
    } catch (Throwable $error) {
        fwrite(STDERR, "{$job['job_id']} has failed: {$error->getMessage()}\n");
        $told = ['type' => $error::class, 'message' => $error->getMessage()];
        $told['trace'] = $error->getTraceAsString();
        finish_or_fail('fail', $job, ['error' => $told]);
    }
}
