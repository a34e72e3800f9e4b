"""The half of the lab that trains: models in torch that compute what llama.cpp does; prune, distil, compensate."""
