// The command line.
#pragma once

#include <string>

struct Options {
  std::string target;        // HOST:PORT
  std::string method;        // /package.Service/Method of gRPC
  std::string path;          // /… of HTTP, instead of a method
  std::string content_type = "application/octet-stream";  // of an HTTP body
  std::string body;          // file with one serialized message, or one HTTP body
  std::string first_reply;   // file for the first good reply, empty: none
  std::string last_reply;    // file for the last one
  int callers = 1;           // calls, or streams, at once
  int connections = 1;       // of gRPC; over HTTP each caller has one
  int in_flight = 0;         // messages on each stream, 0: unary calls
  double rate = 0;           // requests a second, 0: a closed loop
  double seconds = 5;
  double warm_up_seconds = 0.5;
  double deadline_seconds = 30;  // of a unary call
};

// Raises std::invalid_argument, whose text says what is wrong.
Options ReadOptions(int argc, char** argv);
